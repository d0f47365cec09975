/*
 * service.cc - what service.c is, as it would be written in C++: containers, strings, lambdas, a
 * pool of workers. So that what a profile of a C++ program looks like can be seen.
 *
 * Requests of two tenants are put on a queue; workers parse each (strings and a vector, freed at
 * once), look something up in a cache (allocated once, rightly kept) and do some arithmetic. And on
 * the way Audit::remember() keeps a copy of every request for an audit that never comes.
 *
 *   service-cc [ADDRESS]     default 127.0.0.1:0, any free port
 *
 * Prints where it serves its profiles, then a line for every 1000 requests; ends on SIGINT or
 * SIGTERM. It stops leaking at leak_max, so one that was forgotten does no harm.
 */
#include <algorithm>
#include <array>
#include <atomic>
#include <cerrno>
#include <chrono>
#include <condition_variable>
#include <csignal>
#include <cstdio>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <numeric>
#include <queue>
#include <string>
#include <thread>
#include <unordered_map>
#include <vector>

#include <prof/http.h>
#include <prof/prof.h>

namespace shop
{

constexpr unsigned workers = 4;
constexpr std::size_t cache_entries = 512;
constexpr std::size_t entry_bytes = 8192; /* 4 MiB of cache */
constexpr std::size_t request_bytes = 8192;
constexpr std::size_t leak_max = std::size_t { 1 } << 30;

struct Request {
    long number;
    const char *tenant;
    std::string body;
};

/* The leak. */
class Audit
{
  public:
    void remember(const Request &request)
    {
        std::lock_guard<std::mutex> guard(mutex_);

        if (bytes_ > leak_max)
            return;
        bytes_ += request.body.size();
        log_[request.number] = request.body;
    }

  private:
    std::mutex mutex_;
    std::map<long, std::string> log_;
    std::size_t bytes_ = 0;
};

/* Filled once and kept: in use, but not growing. */
class Cache
{
  public:
    Cache()
    {
        for (std::size_t i = 0; i < cache_entries; i++)
            entries_.emplace(
                i, std::vector<unsigned char>(entry_bytes, static_cast<unsigned char>(i)));
    }

    const std::vector<unsigned char> &find(std::size_t key) const
    {
        return entries_.at(key % cache_entries);
    }

  private:
    std::unordered_map<std::size_t, std::vector<unsigned char>> entries_;
};

/* Runs what it is given, on threads of its own. */
class Pool
{
  public:
    explicit Pool(unsigned threads)
    {
        for (unsigned i = 0; i < threads; i++)
            threads_.emplace_back([this] { run(); });
    }

    ~Pool()
    {
        {
            std::lock_guard<std::mutex> guard(mutex_);
            stopping_ = true;
        }
        changed_.notify_all();
        for (auto &thread : threads_)
            thread.join();
    }

    void submit(std::function<void()> task)
    {
        {
            std::lock_guard<std::mutex> guard(mutex_);
            tasks_.push(std::move(task));
        }
        changed_.notify_one();
    }

  private:
    void run()
    {
        for (;;) {
            std::function<void()> task;
            {
                std::unique_lock<std::mutex> guard(mutex_);
                changed_.wait(guard, [this] { return stopping_ || !tasks_.empty(); });
                if (stopping_)
                    return;
                task = std::move(tasks_.front());
                tasks_.pop();
            }
            task();
        }
    }

    std::mutex mutex_;
    std::condition_variable changed_;
    std::queue<std::function<void()>> tasks_;
    std::vector<std::thread> threads_;
    bool stopping_ = false;
};

/* What its scope does carries the tenant's label in every profile. */
class Label
{
  public:
    explicit Label(const char *tenant)
    {
        prof_labels_push("tenant", tenant);
    }
    ~Label()
    {
        prof_labels_pop();
    }
    Label(const Label &) = delete;
    Label &operator=(const Label &) = delete;
};

class Service
{
  public:
    void start(long number)
    {
        pool_.submit([this, number] {
            const char *tenant = number % 4 == 0 ? "globex" : "acme";
            Label label(tenant);
            auto request = std::make_shared<Request>(Request {
                number, tenant, std::string(request_bytes, static_cast<char>(' ' + number % 95)) });

            result_ ^= handle(*request);
            if (++done_ % 1000 == 0) {
                std::printf("handled %ld requests\n", done_.load());
                std::fflush(stdout);
            }
        });
    }

  private:
    unsigned handle(const Request &request)
    {
        unsigned h =
            parse(request) ^ checksum(cache_.find(static_cast<std::size_t>(request.number)));

        audit_.remember(request);
        return h;
    }

    /* Churn: much is allocated here, nothing stays. */
    unsigned parse(const Request &request) const
    {
        std::vector<std::string> tokens;

        for (std::size_t size = 64; size <= request.body.size(); size *= 2)
            tokens.push_back(request.body.substr(0, size));
        std::sort(tokens.begin(), tokens.end(),
                  [](const auto &a, const auto &b) { return a.size() > b.size(); });
        return std::accumulate(tokens.begin(), tokens.end(), 0u,
                               [](unsigned sum, const auto &token) {
                                   return sum + static_cast<unsigned char>(token[token.size() / 2]);
                               });
    }

    /* Honest work: shows in a CPU profile, not in the heap. */
    unsigned checksum(const std::vector<unsigned char> &data) const
    {
        return std::accumulate(
            data.begin(), data.end(), 2166136261u,
            [](unsigned h, unsigned char byte) { return (h ^ byte) * 16777619u; });
    }

    Cache cache_;
    Audit audit_;
    std::atomic<long> done_ { 0 };
    std::atomic<unsigned> result_ { 0 }; /* so that nothing is optimized away */
    Pool pool_ { workers };              /* last: its threads use the others, and end first */
};

} // namespace shop

int main(int argc, char **argv)
{
    const char *address = argc > 1 ? argv[1] : "127.0.0.1:0";
    std::array<char, 256> bound {};
    sigset_t ending;

    if (argc > 2 || address[0] == '-') {
        std::fprintf(stderr, "usage: %s [ADDRESS]\n", argv[0]);
        return 2;
    }
    /* Blocked before any thread is made, so that only sigtimedwait() below gets them. */
    sigemptyset(&ending);
    sigaddset(&ending, SIGINT);
    sigaddset(&ending, SIGTERM);
    pthread_sigmask(SIG_BLOCK, &ending, nullptr);

    /* Under profrun --http there may be a server already. */
    int r = prof_http_start(address);
    if ((r < 0 && r != -EALREADY) || prof_http_address(bound.data(), bound.size()) < 0) {
        std::fprintf(stderr, "%s: cannot serve on %s: %s\n", argv[0], address, prof_last_error());
        return 1;
    }
    std::printf("serving on %s\n", bound.data());
    std::fflush(stdout);

    shop::Service service;
    const timespec pause = { 0, 1000000 / shop::workers };
    for (long number = 1; sigtimedwait(&ending, nullptr, &pause) < 0; number++)
        service.start(number);
    return 0;
}
