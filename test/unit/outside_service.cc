/*
 * outside_service.cc - a C++ service that knows nothing of libprof, to be looked at from outside.
 *
 * It makes objects of known numbers, says on stdout what it has made and what malloc says of it,
 * and then waits on stdin: a line "leak" plants a leak, "deadlock" makes one, "stats" says it
 * again, the end of input ends it. If libprof is there all the same, "tell" tells it some things:
 * a profile, labels, a block to ignore and a root. Threads wait meanwhile as those of services do.
 */
#include <dlfcn.h>
#include <malloc.h>
#include <pthread.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cstdint>
#include <cstdio>
#include <cstring>
#include <map>
#include <memory>
#include <string>
#include <vector>

namespace shop
{

struct Account {
    virtual ~Account() = default;
    virtual int kind() const
    {
        return 1;
    }
    long id = 0;
    char data[100] = {};
};

struct Premium : Account {
    int kind() const override
    {
        return 2;
    }
    std::string note;
    char more[200] = {};
};

template <class T> struct Box {
    virtual ~Box() = default;
    T value {};
};

struct Session {
    virtual ~Session() = default;
    void *child = nullptr;
    char data[300] = {};
};

} // namespace shop

std::vector<std::unique_ptr<shop::Account>> g_accounts;
std::vector<std::string> g_notes;
static std::map<int, std::unique_ptr<shop::Box<double>>> g_boxes;
static int g_epoll;
uintptr_t g_tagged[3]; /* might be a string, but for the tag: no address at all */

static void *wait_in_epoll(void *)
{
    struct epoll_event e;

    while (epoll_wait(g_epoll, &e, 1, -1) < 0)
        printf("EINTR\n"), fflush(stdout);
    return nullptr;
}

static pthread_mutex_t g_lock = PTHREAD_MUTEX_INITIALIZER;

/* Memory in an arena of its own, held by its stack alone. */
static void *hold_on_stack(void *ready)
{
    std::vector<shop::Premium *> mine;

    for (int i = 0; i < 500; i++)
        mine.push_back(new shop::Premium);
    pthread_barrier_wait(static_cast<pthread_barrier_t *>(ready));
    pthread_mutex_lock(&g_lock);
    for (auto *p : mine)
        delete p;
    pthread_mutex_unlock(&g_lock);
    return nullptr;
}

static void __attribute__((noinline)) plant(int n)
{
    for (int i = 0; i < n; i++) {
        shop::Session *s = new shop::Session;

        asm volatile("" : : "r"(s) : "memory"); /* or the compiler leaves it out */

        s->child = malloc(1000);
        memset(s->child, 1, 1000);
    }
}

template <typename F> static F *libprofs(const char *name)
{
    return reinterpret_cast<F *>(dlsym(RTLD_DEFAULT, name));
}

/* As by the functions of prof.h, which a program that knows of libprof would call. */
static void __attribute__((noinline)) tell()
{
    auto profile_new = libprofs<int(const char *, void **)>("prof_profile_new");
    auto profile_add = libprofs<int(void *, const void *, int)>("prof_profile_add");
    auto push = libprofs<int(const char *, const char *)>("prof_labels_push");
    auto pop = libprofs<int()>("prof_labels_pop");
    auto ignore = libprofs<int(const void *)>("prof_heap_ignore");
    auto root = libprofs<int(const void *, size_t)>("prof_heap_root");
    void *profile = nullptr;

    if (!profile_new || !profile_add || !push || !pop || !ignore || !root)
        return;
    profile_new("shop.connections", &profile);
    for (uintptr_t i = 1; i <= 7; i++)
        profile_add(profile, reinterpret_cast<void *>(i), 0);
    push("tenant", "acme");
    for (int i = 0; i < 50; i++)
        g_notes.push_back(std::string(3000, 'n'));
    pop();
    ignore(malloc(70000));
    /* What only a hidden place points to: a page that is nobody's root but by being told. */
    uintptr_t *hidden = static_cast<uintptr_t *>(
        mmap(nullptr, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
    hidden[0] = reinterpret_cast<uintptr_t>(malloc(80000));
    root(hidden, 4096);
}

static pthread_mutex_t g_first = PTHREAD_MUTEX_INITIALIZER, g_second = PTHREAD_MUTEX_INITIALIZER;
static pthread_barrier_t g_both;

static void *lock_both(void *backwards)
{
    pthread_mutex_t *one = backwards ? &g_second : &g_first;
    pthread_mutex_t *other = backwards ? &g_first : &g_second;

    pthread_mutex_lock(one);
    pthread_barrier_wait(&g_both);
    pthread_mutex_lock(other);
    return nullptr;
}

static void deadlock()
{
    pthread_t t;

    pthread_barrier_init(&g_both, nullptr, 3);
    pthread_create(&t, nullptr, lock_both, nullptr);
    pthread_setname_np(t, "forwards");
    pthread_create(&t, nullptr, lock_both, &g_both);
    pthread_setname_np(t, "backwards");
    pthread_barrier_wait(&g_both);
}

static void __attribute__((noinline)) stats(int leaked)
{
    struct mallinfo2 m = mallinfo2();

    printf("accounts 3000\npremium 2500\nboxes 4000\nsessions %d\n", leaked);
    printf("account_bytes %zu\npremium_bytes %zu\nbox_bytes %zu\nsession_bytes %zu\n",
           (sizeof(shop::Account) + 8 + 15) & ~15ul, (sizeof(shop::Premium) + 8 + 15) & ~15ul,
           (sizeof(shop::Box<double>) + 8 + 15) & ~15ul, (sizeof(shop::Session) + 8 + 15) & ~15ul);
    /* mallinfo2() is of all arenas, as malloc_info() is. */
    printf("arena %zu\nused %zu\nfree %zu\nfast %zu\nmapped %zu\nmapped_blocks %zu\n", m.arena,
           m.uordblks, m.fordblks, m.fsmblks, m.hblkhd, m.hblks);
    printf("ready\n");
    fflush(stdout);
}

static void __attribute__((noinline)) scrub()
{
    volatile char stack[65536];

    memset(const_cast<char *>(stack), 0, sizeof(stack));
}

int main()
{
    static char buf[4096];
    pthread_t waiter, holder;
    pthread_barrier_t ready;
    char line[64];
    int leaked = 0;

    setvbuf(stdout, buf, _IOFBF, sizeof(buf));
    setvbuf(stdin, nullptr, _IONBF, 0);
    for (int i = 0; i < 3000; i++)
        g_accounts.push_back(std::make_unique<shop::Account>());
    for (int i = 0; i < 2000; i++) {
        auto p = std::make_unique<shop::Premium>();

        p->note = std::string(40 + i % 50, 'x');
        g_accounts.push_back(std::move(p));
    }
    for (int i = 0; i < 4000; i++)
        g_boxes[i] = std::make_unique<shop::Box<double>>();
    std::vector<void *> scratch;
    for (int i = 0; i < 3000; i++)
        scratch.push_back(calloc(1, 20 + i % 700));
    for (size_t i = 0; i < scratch.size(); i++)
        if (i % 3)
            free(scratch[i]), scratch[i] = nullptr;
    scratch.push_back(malloc(5 << 20));
    g_tagged[0] = reinterpret_cast<uintptr_t>(g_accounts[0].get()) | uintptr_t(0x39) << 56;
    g_tagged[1] = 30;
    g_tagged[2] = 100;
    g_epoll = epoll_create1(0);
    pthread_barrier_init(&ready, nullptr, 2);
    pthread_mutex_lock(&g_lock);
    pthread_create(&waiter, nullptr, wait_in_epoll, nullptr);
    pthread_create(&holder, nullptr, hold_on_stack, &ready);
    pthread_barrier_wait(&ready);
    scrub();
    stats(leaked);
    while (fgets(line, sizeof(line), stdin)) {
        if (strncmp(line, "leak", 4) == 0) {
            plant(200);
            leaked += 200;
            scrub();
        }
        if (strncmp(line, "tell", 4) == 0)
            tell();
        if (strncmp(line, "deadlock", 8) == 0)
            deadlock();
        stats(leaked);
    }
    _exit(0);
}
