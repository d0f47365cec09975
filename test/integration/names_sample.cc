// names_sample.cc - functions whose names say little without where they are: lambdas, generic ones,
// local classes, anonymous namespaces, templates over all of these, coroutines.
#include <algorithm>
#include <coroutine>
#include <exception>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#ifdef OUT_OF_LINE // so that the linker knows each
#define INLINE    [[gnu::noinline]]
#define IN_LAMBDA __attribute__((noinline))
#else
#define INLINE    [[gnu::always_inline]] inline
#define IN_LAMBDA __attribute__((always_inline))
#endif
#define NOINLINE [[gnu::noinline]]

volatile long sink;

NOINLINE static void use(long v)
{
    sink = sink + v;
}

namespace
{
struct Hidden {
    template <class T> INLINE T twice(T v)
    {
        sink = sink + long(v);
        return v + v;
    }
    NOINLINE int out(int v)
    {
        use(v);
        return v;
    }
};

INLINE int hidden_helper(int v)
{
    sink = sink - v;
    return v * 2;
}
} // namespace

namespace net
{
inline namespace v2
{
struct Request {
    std::string path;
    int size = 0;
};

template <class T> struct Server {
    T state {};

    template <class F> NOINLINE int serve(F f)
    {
        return f(state) + f(state + 1);
    }

    NOINLINE int start(int n, const Request &request)
    {
        auto a = [&](int v) IN_LAMBDA {
            sink = sink + v;
            return v + n;
        };
        auto b = [&](int v) IN_LAMBDA {
            sink = sink - v;
            return v - n;
        };
        auto c = [&](const Request &r) IN_LAMBDA {
            sink = sink ^ r.size;
            return r.size * n;
        };
        auto d = [&](const std::string &s, unsigned long k) IN_LAMBDA {
            sink = sink + long(k);
            return int(s.size() + k);
        };
        auto g = [&](auto v) IN_LAMBDA {
            sink = sink ^ long(v);
            return int(v) * n;
        };
        struct Local {
            int k;
            INLINE int apply(int v)
            {
                sink = sink + k;
                return v * k;
            }
        } l { n };

        return a(n) + b(n) + c(request) + d(request.path, 7) + g(n) + g(2.0) + l.apply(n) +
               serve([n](int v) {
                   use(n);
                   return v ^ n;
               });
    }
};
} // namespace v2
} // namespace net

// Of internal linkage, so that GCC gives the lambdas in it no names for the linker.
NOINLINE static int dispatch(const net::Request &request, int n)
{
    auto a = [&](int v) IN_LAMBDA {
        sink = sink + v;
        return v + n;
    };
    auto b = [&](int v) IN_LAMBDA {
        sink = sink - v;
        return v - n;
    };
    auto c = [&](const net::Request &r) IN_LAMBDA {
        sink = sink ^ r.size;
        return r.size * n;
    };
    auto d = [&](const std::string &s, unsigned long k, const char *t) IN_LAMBDA {
        sink = sink + long(k) + *t;
        return int(s.size() + k);
    };
    auto e = [&](int v) IN_LAMBDA {
        auto inner = [&](int w) IN_LAMBDA {
            sink = sink * w;
            return w * n;
        };
        return inner(v) + 1;
    };
    if (n > 1) {
        auto in_block = [&](int v) IN_LAMBDA {
            sink = sink | v;
            return v | n;
        };
        n += in_block(n);
    }
    auto g = [&](auto v, int k) IN_LAMBDA {
        sink = sink ^ long(v);
        return int(v) * n + k;
    };
    struct Local {
        int k;
        INLINE int apply(int v)
        {
            sink = sink + k;
            return v * k;
        }
    } l { n };
    return a(n) + b(n) + c(request) + d(request.path, 7, request.path.c_str()) + e(n) + g(n, 1) +
           g(2.0, 2) + l.apply(n);
}

struct Task {
    struct promise_type {
        Task get_return_object()
        {
            return { std::coroutine_handle<promise_type>::from_promise(*this) };
        }
        std::suspend_always initial_suspend() noexcept
        {
            return {};
        }
        std::suspend_always final_suspend() noexcept
        {
            return {};
        }
        void return_void()
        {
        }
        void unhandled_exception()
        {
            std::terminate();
        }
    };
    std::coroutine_handle<promise_type> handle;
};

Task waiting(int n)
{
    use(n);
    co_await std::suspend_always {};
    auto l = [n](int v) IN_LAMBDA {
        sink = sink + v;
        return v + n;
    };
    use(l(n));
}

int main(int argc, char **)
{
    net::Server<int> s;
    net::Request request { "/index", argc };
    Hidden h;

    s.state = argc;
    long r = s.start(argc, request) + dispatch(request, argc) + h.twice(argc) +
             long(h.twice(2.5 * argc)) + h.out(argc) + hidden_helper(argc);
    std::thread first([argc] { use(argc); });
    auto add = [](int x) {
        sink = sink + x;
        return x;
    };
    std::thread second([argc, add] { use(-add(argc)); });
    first.join();
    second.join();
    std::map<std::string, std::vector<int>> m;
    m["a"].push_back(argc);
    std::vector<int> v { 3, 1, argc };
    std::sort(v.begin(), v.end(), [](int a, int b) { return a > b; });
    r += long(std::make_shared<std::string>("x")->size());
    Task task = waiting(argc);
    task.handle.resume();
    task.handle.resume();
    task.handle.destroy();
    return r > 100000;
}
