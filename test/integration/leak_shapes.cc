/*
 * leak_shapes.cc - blocks held in every way that a program holds blocks, and blocks that are lost.
 *
 *   leak_shapes FOLDER RATE BLOCKS SIZE CHURN [PLUGIN]
 *
 * Each shape allocates in a function of its own name, BLOCKS blocks of SIZE bytes (or as many as
 * its kind has), and is made in a thread that ends, so that no stale word of ours leads to it.
 * Names end in _lost or _held, which is what the profile must say; leaks.py has the few of which
 * it cannot be known. Writes FOLDER/leaks.pb, leaks.txt and holders.pb. Built without libprof it
 * leaves the judgement to LeakSanitizer.
 */
#include <atomic>
#include <climits>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <list>
#include <map>
#include <memory>
#include <string>
#include <unordered_map>
#include <vector>

#include <dlfcn.h>
#include <pthread.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#ifdef SHAPES_WITHOUT_PROF
extern "C" int __lsan_do_recoverable_leak_check(void);
#else
#include <prof/prof.h>
#endif

#define SHAPE   __attribute__((noinline, used))
#define KEEP(p) __asm__ volatile("" : : "g"(p) : "memory")

static size_t blocks, size;

struct node {
    node *next, *other;
    char pad[16];
};

/* size >= sizeof(node), and never inlined into the caller's name. */
#define DEFINE_ALLOCATOR(name)                \
    extern "C" SHAPE node *name(size_t bytes) \
    {                                         \
        node *n = (node *)malloc(bytes);      \
                                              \
        if (!n)                               \
            abort();                          \
        memset((void *)n, 0, bytes);          \
        KEEP(n);                              \
        return n;                             \
    }

/* --- lost ------------------------------------------------------------------------------------ */

DEFINE_ALLOCATOR(plain_lost)
static void make_plain()
{
    for (size_t i = 0; i < blocks; i++)
        KEEP(plain_lost(size));
}

DEFINE_ALLOCATOR(list_lost)
static void make_list()
{
    node *head = nullptr;

    for (size_t i = 0; i < blocks; i++) {
        node *n = list_lost(size);

        n->next = i % 4 ? head : nullptr; /* lists of four */
        head = n;
    }
    KEEP(head);
}

DEFINE_ALLOCATOR(cycle_lost)
static void make_cycle()
{
    for (size_t i = 0; i < blocks; i += 2) {
        node *a = cycle_lost(size), *b = cycle_lost(size);

        a->next = b;
        b->next = a;
    }
}

DEFINE_ALLOCATOR(self_lost)
static void make_self()
{
    for (size_t i = 0; i < blocks; i++) {
        node *n = self_lost(size);

        n->next = n;
    }
}

DEFINE_ALLOCATOR(tree_lost)
static node *tree(size_t n)
{
    if (n == 0)
        return nullptr;
    node *root = tree_lost(size);
    root->next = tree((n - 1) / 2);
    root->other = tree(n - 1 - (n - 1) / 2);
    return root;
}
static void make_tree()
{
    KEEP(tree(blocks));
}

extern "C" SHAPE node *realloc_lost(size_t bytes)
{
    node *n = (node *)malloc(bytes / 2);

    n = (node *)realloc((void *)n, bytes);
    memset((void *)n, 0, bytes);
    KEEP(n);
    return n;
}
static void make_realloc()
{
    for (size_t i = 0; i < blocks; i++)
        KEEP(realloc_lost(size));
}

struct counted {
    std::shared_ptr<counted> next;
    char *payload;
};
DEFINE_ALLOCATOR(shared_ptr_cycle_lost)
static void make_shared_ptr_cycle()
{
    for (size_t i = 0; i < blocks; i++) {
        auto a = std::make_shared<counted>(), b = std::make_shared<counted>();

        a->next = b;
        b->next = a;
        a->payload = (char *)shared_ptr_cycle_lost(size);
    }
}

DEFINE_ALLOCATOR(map_lost)
static void make_lost_map()
{
    auto *m = new std::map<size_t, node *>;

    for (size_t i = 0; i < blocks; i++)
        (*m)[i] = map_lost(size);
    KEEP(m);
}

/* --- held by data ---------------------------------------------------------------------------- */

node *global_list;
DEFINE_ALLOCATOR(global_held)
static void make_global()
{
    for (size_t i = 0; i < blocks; i++) {
        node *n = global_held(size);

        n->next = global_list;
        global_list = n;
    }
}

DEFINE_ALLOCATOR(static_local_held)
static void make_static_local()
{
    static node *kept;

    for (size_t i = 0; i < blocks; i++) {
        node *n = static_local_held(size);

        n->next = kept;
        kept = n;
    }
    KEEP(&kept);
}

char *interior[1 << 14];
DEFINE_ALLOCATOR(interior_held)
static void make_interior()
{
    for (size_t i = 0; i < blocks; i++)
        interior[i] = (char *)interior_held(size) + size / 2;
}

/* The only pointer is the last word of another block, and points to the last word. */
node **last_words;
DEFINE_ALLOCATOR(last_word_held)
DEFINE_ALLOCATOR(last_word_holder_held)
static void make_last_word()
{
    size_t words = size / sizeof(void *);

    last_words = (node **)last_word_holder_held(blocks * sizeof(void *) + sizeof(node));
    for (size_t i = 0; i < blocks; i++) {
        char **holder = (char **)last_word_holder_held(size);
        char **held = (char **)last_word_held(size);

        holder[words - 1] = (char *)&held[words - 1];
        last_words[i] = (node *)holder;
    }
}

uintptr_t tagged[1 << 14];
DEFINE_ALLOCATOR(tagged_held)
static void make_tagged()
{
    for (size_t i = 0; i < blocks; i++)
        tagged[i] = (uintptr_t)tagged_held(size) | 3 | (uintptr_t)(0xa5 + i % 7) << 48;
}

struct base {
    virtual ~base()
    {
    }
    char *payload = nullptr;
};
struct middle : virtual base {
    char pad[4096];
};
struct other_base {
    virtual ~other_base()
    {
    }
    char pad[64];
};
struct whole : other_base, middle {
};
base *virtual_base[1 << 14];
extern "C" SHAPE base *virtual_base_held()
{
    base *b = new whole;

    KEEP(b);
    return b;
}
static void make_virtual_base()
{
    size_t n = blocks * size / sizeof(whole) + 1;

    for (size_t i = 0; i < n && i < 1 << 14; i++)
        virtual_base[i] = virtual_base_held();
}

struct with_destructor {
    char text[40];
    ~with_destructor()
    {
        text[0] = 0;
        KEEP(text);
    }
};
with_destructor *arrays[1 << 14]; /* behind the count that new[] puts first */
extern "C" SHAPE with_destructor *array_cookie_held(size_t n)
{
    with_destructor *a = new with_destructor[n];

    KEEP(a);
    return a;
}
static void make_array_cookie()
{
    for (size_t i = 0; i < blocks; i++)
        arrays[i] = array_cookie_held(size / sizeof(with_destructor) + 1);
}

std::map<size_t, node *> a_map;
std::list<node *> a_list;
std::unordered_map<std::string, node *> a_hash;
std::vector<std::shared_ptr<node *>> a_vector;
DEFINE_ALLOCATOR(std_map_held)
DEFINE_ALLOCATOR(std_list_held)
DEFINE_ALLOCATOR(std_unordered_map_held)
DEFINE_ALLOCATOR(std_shared_ptr_held)
static void make_containers()
{
    for (size_t i = 0; i < blocks; i++) {
        a_map[i * 7919 % 65537] = std_map_held(size);
        a_list.push_back(std_list_held(size));
        a_hash["a rather long key, number " + std::to_string(i)] = std_unordered_map_held(size);
        a_vector.push_back(std::make_shared<node *>(std_shared_ptr_held(size)));
    }
}

/* What cannot be known: the distance to the next, not its address; and a key over all bits. */
char *offset_head;
DEFINE_ALLOCATOR(offset_pointer_unknown)
static void make_offset()
{
    char *before = nullptr;

    for (size_t i = 0; i < blocks; i++) {
        char *n = (char *)offset_pointer_unknown(size);

        *(intptr_t *)n = before ? before - n : 0;
        before = n;
    }
    offset_head = (char *)((uintptr_t)before ^ 0x5555555555555555u);
}

uintptr_t hidden[1 << 14];
DEFINE_ALLOCATOR(xor_unknown)
static void make_xor()
{
    for (size_t i = 0; i < blocks; i++)
        hidden[i] = (uintptr_t)xor_unknown(size) ^ 0x5555555555555555u;
}

/* --- held by mappings, the kernel, a library -------------------------------------------------- */

node **shared_memory, **private_mapping;
DEFINE_ALLOCATOR(shared_memory_held)
DEFINE_ALLOCATOR(private_mapping_held)
static void make_mappings()
{
    int fd = memfd_create("shapes", 0);
    size_t bytes = (blocks * sizeof(void *) | 4095) + 1;

    if (fd < 0 || ftruncate(fd, (off_t)bytes) < 0)
        abort();
    shared_memory = (node **)mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    private_mapping =
        (node **)mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    close(fd);
    for (size_t i = 0; i < blocks; i++) {
        shared_memory[i] = shared_memory_held(size);
        private_mapping[i] = private_mapping_held(size);
    }
}

int epoll_fd;
DEFINE_ALLOCATOR(epoll_held)
static void make_epoll()
{
    epoll_fd = epoll_create1(0);
    for (size_t i = 0; i < blocks && i < 200; i++) {
        struct epoll_event e = {};

        e.events = EPOLLIN;
        e.data.ptr = epoll_held(size * (blocks > 200 ? blocks / 200 : 1));
        if (epoll_ctl(epoll_fd, EPOLL_CTL_ADD, eventfd(0, 0), &e) < 0)
            abort();
        memset(&e, 0, sizeof(e));
        KEEP(&e);
    }
}

static const char *plugin_path;
static void make_plugin()
{
    void *handle = plugin_path ? dlopen(plugin_path, RTLD_NOW) : nullptr;

    if (!handle)
        return;
    auto fill = (void (*)(size_t, size_t))dlsym(handle, "plugin_fill");
    fill(blocks, size);
}

/* --- held by threads -------------------------------------------------------------------------- */

static std::atomic<int> arrived;
static std::atomic<bool> leave;
static pthread_mutex_t gate = PTHREAD_MUTEX_INITIALIZER; /* main has it: threads wait there */

static void wait_at_gate()
{
    arrived++;
    pthread_mutex_lock(&gate);
    pthread_mutex_unlock(&gate);
}

thread_local node *local_list;
DEFINE_ALLOCATOR(thread_local_held)
static void thread_local_thread()
{
    for (size_t i = 0; i < blocks; i++) {
        node *n = thread_local_held(size);

        n->next = local_list;
        local_list = n;
    }
    wait_at_gate();
}

static pthread_key_t key;
DEFINE_ALLOCATOR(pthread_key_held)
static SHAPE void fill_key()
{
    node *list = nullptr;

    for (size_t i = 0; i < blocks; i++) {
        node *n = pthread_key_held(size);

        n->next = list;
        list = n;
    }
    pthread_setspecific(key, list);
}
static void pthread_key_thread()
{
    fill_key();
    wait_at_gate();
}

DEFINE_ALLOCATOR(waiting_stack_held)
static void waiting_stack_thread()
{
    volatile uintptr_t on_stack[4] = {};
    node *list = nullptr;

    for (size_t i = 0; i < blocks; i++) {
        node *n = waiting_stack_held(size);

        n->next = list;
        list = n;
    }
    on_stack[1] = (uintptr_t)list;
    list = nullptr;
    wait_at_gate();
    KEEP(on_stack[1]);
}

DEFINE_ALLOCATOR(running_stack_held)
static void running_stack_thread()
{
    volatile uintptr_t on_stack[4] = {};
    node *list = nullptr;

    for (size_t i = 0; i < blocks; i++) {
        node *n = running_stack_held(size);

        n->next = list;
        list = n;
    }
    on_stack[1] = (uintptr_t)list;
    list = nullptr;
    arrived++;
    while (!leave)
        ;
    KEEP(on_stack[1]);
}

DEFINE_ALLOCATOR(register_held)
static SHAPE node *fill_register()
{
    node *list = nullptr;

    for (size_t i = 0; i < blocks; i++) {
        node *n = register_held(size);

        n->next = list;
        list = n;
    }
    return list;
}
static void register_thread()
{
    register node *list __asm__("r14") = fill_register();

    __asm__ volatile("" : "+r"(list));
    arrived++;
    /* Nothing of the thread's memory has it now. */
    while (!leave.load(std::memory_order_relaxed))
        __asm__ volatile("" : "+r"(list));
    KEEP(list);
}

/* Nobody but a debugger sees the registers of a thread in a system call. */
DEFINE_ALLOCATOR(hidden_register_possible)
static SHAPE node *fill_hidden()
{
    node *list = nullptr;

    for (size_t i = 0; i < blocks; i++) {
        node *n = hidden_register_possible(size);

        n->next = list;
        list = n;
    }
    return list;
}
static SHAPE void overwrite_stack()
{
    char old[4096];

    memset(old, 0, sizeof(old));
    KEEP(old);
}
static int wake_fd;
static void hidden_register_thread()
{
    uint64_t got = 0;
#ifdef __x86_64__
    register node *list __asm__("rbx") = fill_hidden();
    long number = 0; /* read(2) */

    __asm__ volatile("" : "+r"(list));
    overwrite_stack();
    arrived++;
    __asm__ volatile("syscall"
                     : "+a"(number), "+r"(list)
                     : "D"(wake_fd), "S"(&got), "d"(sizeof(got))
                     : "rcx", "r11", "memory");
    KEEP(list);
#else
    arrived++;
    if (read(wake_fd, &got, sizeof(got)) < 0)
        abort();
#endif
}

DEFINE_ALLOCATOR(ended_arena_held)
DEFINE_ALLOCATOR(ended_arena_lost)
node *from_ended_arena;
static void make_ended_arena()
{
    for (size_t i = 0; i < blocks; i++) {
        node *n = ended_arena_held(size);

        n->next = from_ended_arena;
        from_ended_arena = n;
        KEEP(ended_arena_lost(size));
    }
}

/* --- fed by hand ------------------------------------------------------------------------------ */

node *fed_list;
char *pool;
extern "C" SHAPE void feed_held(void *p, size_t bytes)
{
#ifndef SHAPES_WITHOUT_PROF
    prof_heap_alloc(p, bytes);
#endif
    KEEP(bytes);
    KEEP(p);
}
extern "C" SHAPE void feed_lost(void *p, size_t bytes)
{
#ifndef SHAPES_WITHOUT_PROF
    prof_heap_alloc(p, bytes);
#endif
    KEEP(bytes);
    KEEP(p);
}
static void make_fed()
{
    size_t each = (size + 15) & ~(size_t)15;

    pool = (char *)mmap(nullptr, each * blocks * 2, PROT_READ | PROT_WRITE,
                        MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    for (size_t i = 0; i < blocks; i++) {
        node *held = (node *)(pool + each * (2 * i)), *lost = (node *)(pool + each * (2 * i + 1));

        held->next = fed_list;
        fed_list = held;
        feed_held(held, size);
        lost->next = lost;
        feed_lost(lost, size);
    }
}

#ifndef SHAPES_WITHOUT_PROF
/* Told by the program. */
uintptr_t *encoded;
DEFINE_ALLOCATOR(named_root_held)
DEFINE_ALLOCATOR(ignored_held)
static void make_named()
{
    for (size_t i = 0; i < blocks && i < 4000; i++)
        prof_heap_ignore(ignored_held(size));
    /* Pages that are not looked at, since they cannot be written. */
    size_t bytes = (blocks * sizeof(void *) | 4095) + 1;
    int fd = memfd_create("named", 0);
    if (fd < 0 || ftruncate(fd, (off_t)bytes) < 0)
        abort();
    encoded = (uintptr_t *)mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    close(fd);
    for (size_t i = 0; i < blocks; i++)
        encoded[i] = (uintptr_t)named_root_held(size);
    mprotect(encoded, bytes, PROT_READ);
    prof_heap_root(encoded, bytes);
}
#endif

/* --- all -------------------------------------------------------------------------------------- */

static void *run(void *arg)
{
    (*(void (*)())arg)();
    return nullptr;
}

static void in_thread(void (*make)())
{
    pthread_t t;

    if (pthread_create(&t, nullptr, run, (void *)make) != 0)
        abort();
    pthread_join(t, nullptr);
}

/* Blocks that come and go, and move from list to list. */
static std::atomic<node *> hands[64];
extern "C" SHAPE node *churn_held(size_t bytes)
{
    node *n = (node *)malloc(bytes);

    n->next = nullptr;
    KEEP(n);
    return n;
}
static void *churn(void *arg)
{
    unsigned seed = (unsigned)(uintptr_t)arg;

    while (!leave) {
        node *n = churn_held(24 + rand_r(&seed) % 2000), *old;

        old = hands[rand_r(&seed) % 64].exchange(n);
        if (old && rand_r(&seed) % 2)
            old = hands[rand_r(&seed) % 64].exchange(old);
        free((void *)old);
    }
    return nullptr;
}

#ifndef SHAPES_WITHOUT_PROF
static int64_t now_s()
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec;
}

static int write_profile(const char *folder, const char *name, const char *suffix, int debug,
                         bool aged)
{
    struct prof_write_options o = PROF_WRITE_OPTIONS_INIT;
    struct prof_scan_options scan = PROF_SCAN_OPTIONS_INIT;
    struct prof_profile *p = prof_lookup(name);
    std::string path = std::string(folder) + "/" + name + suffix;
    FILE *f = fopen(path.c_str(), "w");

    scan.age_s = aged ? 1 : -1;
    scan.cpu_percent = 100;
    scan.interval_ms = 50;
    o.debug = debug;
    o.scan = &scan;
    if (!p || !f)
        return 1;
    int r = prof_profile_write(
        p, &o,
        [](void *file, const void *data, size_t n) {
            return fwrite(data, 1, n, (FILE *)file) == n ? 0 : -1;
        },
        f);
    fclose(f);
    if (r < 0)
        fprintf(stderr, "%s: %s\n", path.c_str(), prof_last_error());
    return r < 0;
}
#endif

int main(int argc, char **argv)
{
    static void (*const in_ended_threads[])() = {
        make_plain,  make_list,         make_cycle,        make_self,
        make_tree,   make_realloc,      make_lost_map,     make_shared_ptr_cycle,
        make_global, make_static_local, make_interior,     make_last_word,
        make_tagged, make_virtual_base, make_array_cookie, make_containers,
        make_offset, make_xor,          make_mappings,     make_epoll,
        make_plugin, make_ended_arena,  make_fed,
#ifndef SHAPES_WITHOUT_PROF
        make_named,
#endif
    };
    static void (*const in_threads[])() = {
        thread_local_thread,  pthread_key_thread, waiting_stack_thread,
        running_stack_thread, register_thread,    hidden_register_thread,
    };
    enum { THREADS = sizeof(in_threads) / sizeof(in_threads[0]) };
    pthread_t thread[THREADS], churning[2];
    int failed = 0;

    if (argc < 6)
        return 2;
    blocks = strtoul(argv[3], nullptr, 10);
    size = strtoul(argv[4], nullptr, 10);
    plugin_path = argc > 6 ? argv[6] : nullptr;
    if (size < sizeof(node) || blocks > 1 << 14)
        return 2;
    pthread_key_create(&key, nullptr);
    pthread_mutex_lock(&gate);
    wake_fd = eventfd(0, 0);
#ifndef SHAPES_WITHOUT_PROF
    prof_set_heap_rate(atol(argv[2]));
#endif
    for (auto make : in_ended_threads)
        in_thread(make);
    for (int i = 0; i < THREADS; i++)
        if (pthread_create(&thread[i], nullptr, run, (void *)in_threads[i]) != 0)
            abort();
    while (arrived < THREADS)
        sched_yield();
    int n_churning = atoi(argv[5]) ? 2 : 0;
    for (int i = 0; i < n_churning; i++)
        if (pthread_create(&churning[i], nullptr, churn, (void *)(uintptr_t)(i + 1)) != 0)
            abort();
#ifdef SHAPES_WITHOUT_PROF
    __lsan_do_recoverable_leak_check();
#else
    /* What is to be told is old enough. */
    for (int64_t start = now_s(); n_churning && now_s() < start + 2;)
        usleep(50000);
    if (atol(argv[2]) > 0) {
        failed += write_profile(argv[1], "leaks", ".pb", 0, n_churning > 0);
        failed += write_profile(argv[1], "leaks", ".txt", 1, n_churning > 0);
        if (prof_lookup("holders"))
            failed += write_profile(argv[1], "holders", ".pb", 0, n_churning > 0);
    }
#endif
    leave = true;
    pthread_mutex_unlock(&gate);
    if (eventfd_write(wake_fd, 1) < 0)
        abort();
    for (auto t : thread)
        pthread_join(t, nullptr);
    for (int i = 0; i < n_churning; i++)
        pthread_join(churning[i], nullptr);
    if (failed)
        return 1;
    printf("1 passed, 0 failed\n");
    fflush(stdout);
    _exit(0); /* no second report of leaks, when the threads have ended */
}
