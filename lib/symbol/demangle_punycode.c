/*
 * demangle_punycode.c - letters beyond ASCII in a name of ASCII: which code points, and where each
 * is put in.
 *
 * Rust writes "_" where the RFC has "-", since that is what a symbol may have.
 *
 * Source: RFC 3492, with its parameters for host names (section 5).
 */
#include "symbol/demangle_rust_out.h"

bool prof__rust_put_punycode(struct prof__rust_out *o, const char *s, size_t size)
{
    enum { BASE = 36, T_MIN = 1, T_MAX = 26, SKEW = 38, DAMP = 700, POINTS_MAX = 256 };
    uint32_t point[POINTS_MAX], n = 128, i = 0, bias = 72;
    size_t n_points = 0, at = size;

    while (at > 0 && s[at - 1] != '_')
        at--;
    for (size_t k = 0; at && k < at - 1 && n_points < POINTS_MAX; k++)
        point[n_points++] = (unsigned char)s[k];
    while (at < size) {
        uint32_t old = i, weight = 1;

        for (uint32_t k = BASE;; k += BASE) {
            if (at == size)
                return false;
            char c = s[at++];
            uint32_t digit = c >= 'a' && c <= 'z'     ? (uint32_t)(c - 'a')
                             : prof__rust_is_digit(c) ? (uint32_t)(c - '0' + 26)
                                                      : BASE;
            uint32_t t = k <= bias ? T_MIN : k >= bias + T_MAX ? T_MAX : k - bias;

            if (digit == BASE || digit > (0x7fffffff - i) / weight)
                return false;
            i += digit * weight;
            if (digit < t)
                break;
            if (weight > 0x7fffffff / (BASE - t))
                return false;
            weight *= BASE - t;
        }
        uint32_t count = (uint32_t)n_points + 1, delta = (i - old) / (old ? 2 : DAMP), k = 0;
        for (delta += delta / count; delta > (BASE - T_MIN) * T_MAX / 2; k += BASE)
            delta /= BASE - T_MIN;
        bias = k + (BASE - T_MIN + 1) * delta / (delta + SKEW);
        n += i / count;
        i %= count;
        if (n_points == POINTS_MAX || n > 0x10ffff)
            return false;
        memmove(&point[i + 1], &point[i], (n_points - i) * sizeof(point[0]));
        point[i++] = n;
        n_points++;
    }
    for (size_t k = 0; k < n_points; k++)
        prof__rust_put_code_point(o, point[k]);
    return true;
}
