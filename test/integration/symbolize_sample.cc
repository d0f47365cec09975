// symbolize_sample.cc - what C++ makes of names: templates, lambdas, operators, local classes,
// inlined constructors, exceptions' cold paths.
#include <algorithm>
#include <map>
#include <stdexcept>
#include <string>
#include <vector>

namespace shop
{
template <typename T, int N> struct Ring {
    T item[N] = {};
    unsigned at = 0;

    void push(const T &t)
    {
        item[at++ % N] = t;
    }
    template <typename F> T fold(F f) const
    {
        T sum = item[0];

        for (int i = 1; i < N; i++)
            sum = f(sum, item[i]);
        return sum;
    }
};

struct Shape {
    virtual ~Shape() = default;
    virtual double area() const = 0;
};

struct Square final : Shape {
    double side;

    explicit Square(double s) : side(s)
    {
        if (s < 0)
            throw std::invalid_argument("side " + std::to_string(s));
    }
    double area() const override
    {
        return side * side;
    }
};

static std::vector<std::string> split(const std::string &text, char at)
{
    std::vector<std::string> parts(1);

    for (char c : text)
        if (c == at)
            parts.emplace_back();
        else
            parts.back().push_back(c);
    return parts;
}

bool operator<(const Square &a, const Square &b)
{
    return a.area() < b.area();
}

int count(const std::string &text)
{
    struct Local {
        std::map<std::string, int> seen;

        int add(const std::string &word)
        {
            return ++seen[word];
        }
    } local;
    int most = 0;

    for (const std::string &word : split(text, ' '))
        most = std::max(most, local.add(word));
    return most;
}
} // namespace shop

int main(int argc, char **argv)
{
    shop::Ring<double, 8> ring;
    std::vector<shop::Square> squares;

    for (int i = 0; i < argc * 10; i++) {
        squares.emplace_back(i % 7);
        ring.push(squares.back().area());
    }
    std::sort(squares.begin(), squares.end());
    double most = ring.fold([](double a, double b) { return a > b ? a : b; });
    return shop::count(argv[0]) + static_cast<int>(most);
}
