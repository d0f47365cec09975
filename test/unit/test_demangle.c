/*
 * test_demangle.c - names of the linker's become readable, whatever they are, and soon.
 *
 * That they are c++filt's, on all symbols of large programs, is for test/integration/names.py.
 */
#include "symbol/demangle.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/random.h"
#include "check.h"
#include "symbol/names.h"

enum { SLOWEST_MS = 2000, MUTATIONS = 20000 };

static void test_what_a_name_says(void)
{
    static const struct {
        const char *mangled, *full, *bare;
    } cases[] = {
        { "_ZN2ns4pool4growEm", "ns::pool::grow(unsigned long)", "ns::pool::grow" },
        { "_Znwm", "operator new(unsigned long)", "operator new" },
        { "_ZNSt6vectorIiSaIiEE9push_backERKi",
          "std::vector<int, std::allocator<int> >::push_back(int const&)",
          "std::vector<int, std::allocator<int> >::push_back" },
        { "_ZZ4mainENKUliE_clEi", "main::{lambda(int)#1}::operator()(int) const",
          "main::{lambda(int)#1}::operator()" },
        { "_ZZN3net6Server5startEvENKUlT_E0_clIdEEDaS1_",
          "auto net::Server::start()::{lambda(auto:1)#2}::operator()<double>(double) const",
          "net::Server::start::{lambda(auto:1)#2}::operator()<double>" },
        { "_ZN12_GLOBAL__N_16HiddenC2Ev", "(anonymous namespace)::Hidden::Hidden()",
          "(anonymous namespace)::Hidden::Hidden" },
        { "_ZSt11make_sharedISsJRA2_KcEESt10shared_ptrINSt9enable_ifIXntsrSt8is_arrayIT_E5valueES6_"
          "E4typeEEDpOT0_",
          "std::shared_ptr<std::enable_if<!std::is_array<std::string>::value, std::string>::type> "
          "std::make_shared<std::string, char const (&) [2]>(char const (&) [2])",
          "std::make_shared<std::string, char const (&) [2]>" },
        { "_Z3fooPFvPKcE", "foo(void (*)(char const*))", "foo" },
        { "_Z3barIiEPFvvET_", "void (*bar<int>(int))()", "bar<int>" },
        { "_ZNK1AcvT_IiEEv", "A::operator int<int>() const", "A::operator int<int>" },
        { "_ZTV6Widget", "vtable for Widget", "vtable for Widget" },
        { "_ZTIDF64x", "typeinfo for _Float64x", "typeinfo for _Float64x" },
        /* What C++20 demands of arguments, as gcc 14 and clang 18 have it in names, is left out. */
        { "_ZN1AIiE1fEvQ1CIT_E", "A<int>::f()", "A<int>::f" },
        { "_ZN1AIiE1gITk1ClEEvT_", "void A<int>::g<long>(long)", "A<int>::g<long>" },
        { "_ZN1AIiE1hIiQ1CITL0__EEET_S3_QgtstS2_Li2E", "int A<int>::h<int>(int)",
          "A<int>::h<int>" },
        { "_Z1bITpTk1CJilEEvDpT_", "void b<int, long>(int, long)", "b<int, long>" },
        { "_Z2ttITtTk1CE1SEvT_IiE", "void tt<S>(S<int>)", "tt<S>" },
        { "_Z5free2IiQoo1CIT_ErQS0__XcldtfL0p_3fooEXplfL0p_Li1ERSt7same_asIiETNS0_1xEEEvS0_",
          "void free2<int>(int)", "free2<int>" },
        { "_ZZ4mainENKUlTk1CT_T0_E_clIilEEDaS_S0_",
          "auto main::{lambda(auto:1, auto:2)#1}::operator()<int, long>(int, long) const",
          "main::{lambda(auto:1, auto:2)#1}::operator()<int, long>" },
        { "_ZNSt12_Vector_baseIiSaIiEE12_Vector_implC4EvQ26is_default_constructible_vIN9__gnu_"
          "cxx14__"
          "alloc_traitsIT0_NS5_10value_typeEE6rebindIT_E5otherEE",
          "std::_Vector_base<int, std::allocator<int> >::_Vector_impl::_Vector_impl()",
          "std::_Vector_base<int, std::allocator<int> >::_Vector_impl::_Vector_impl" },
        { "_ZNSt5tupleIJZ4mainE3$_3EEC2IJS0_EQaaaacl27__disambiguating_constraintIDpTL0__EEcl15__"
          "constructibleIS4_EEntcl9__danglesIS4_EEEEDpOT_",
          "std::tuple<main::$_3>::tuple<main::$_3>(main::$_3&&)",
          "std::tuple<main::$_3>::tuple<main::$_3>" },
        { "_ZThn16_N1B1fEv", "non-virtual thunk to B::f()", "non-virtual thunk to B::f" },
        { "_Z4coroi.actor", "coro(int) [clone .actor]", "coro" },
        { "_ZN4core3ptr13drop_in_place17h0123456789abcdefE", "core::ptr::drop_in_place",
          "core::ptr::drop_in_place" },
        { "_ZN77_$LT$alloc..vec..Vec$LT$T$GT$$u20$as$u20$core..ops..index..Index$LT$I$GT$$GT$5index"
          "17h0123456789abcdefE",
          "<alloc::vec::Vec<T> as core::ops::index::Index<I>>::index",
          "<alloc::vec::Vec<T> as core::ops::index::Index<I>>::index" },
        { "_RNvMs_NtCs1234_7mycrate3fooNtB4_3Bar3new", "<mycrate::foo::Bar>::new",
          "<mycrate::foo::Bar>::new" },
        { "_RINvNtC3std3mem8align_ofjdE", "std::mem::align_of::<usize, f64>",
          "std::mem::align_of::<usize, f64>" },
    };
    struct prof__arena a = { 0 };
    struct prof__demangler *d = prof__demangler_new(&a);

    CHECK(d, "memory");
    for (size_t i = 0; d && i < ARRAY_LEN(cases); i++) {
        const char *full = prof__demangle(d, cases[i].mangled);

        CHECK_STR(full ? full : "NULL", cases[i].full, cases[i].mangled);
        const char *bare = prof__demangle_bare(d, cases[i].mangled);
        CHECK_STR(bare ? bare : "NULL", cases[i].bare, cases[i].mangled);
    }
    prof__arena_free(&a);
}

static void test_what_is_no_name_stays_as_it_is(void)
{
    static const char *const cases[] = { "main",  "",           "_",           "_Z",
                                         "_R",    "_Znonsense", "_ZN\xff\xff", "_ZN3foo",
                                         "_Z3fo", "_ZS_",       "_Z1fT_",      "_RN",
                                         "_RB_" };
    struct prof__arena a = { 0 };
    struct prof__demangler *d = prof__demangler_new(&a);

    for (size_t i = 0; d && i < ARRAY_LEN(cases); i++) {
        CHECK(!prof__demangle(d, cases[i]), "%s", cases[i]);
        CHECK(!prof__demangle_bare(d, cases[i]), "%s", cases[i]);
    }
    prof__arena_free(&a);
}

static void test_names_for_people(void)
{
    static const struct {
        const char *from, *to;
    } cases[] = {
        { "main", "main" },
        { "compress.part.0", "compress" },
        { "compress.constprop.0.isra.0", "compress" },
        { "inner.0", "inner.0" },
        { "_ZNSt7__cxx1112basic_stringIcSt11char_traitsIcESaIcEE7reserveEm",
          "std::string::reserve" },
        { "_ZNSt3__112basic_stringIwNS_11char_traitsIwEENS_9allocatorIwEEE7reserveEm",
          "std::wstring::reserve" },
        { "_ZNSt6vectorIiSaIiEE9push_backERKi", "std::vector<int>::push_back" },
        { "_ZNSt3mapIiNSt7__cxx1112basic_stringIcSt11char_traitsIcESaIcEEESt4lessIiESaISt4pairIKiS5"
          "_EEE2atERKi",
          "std::map<int, std::string>::at" },
        { "_ZStlsISt11char_traitsIcEERSt13basic_ostreamIcT_ES5_PKc",
          "std::operator<< <std::char_traits<char>>" },
        { "_ZSt13__invoke_implIvZ4mainEUlvE_JEET_St14__invoke_otherOT0_DpOT1_",
          "std::__invoke_impl<...>" },
        { "_ZNK1AltERKS_", "A::operator<" },
        { "_ZN1AIXlt1xLi3EEE1fEv", "A<x<(3)>::f" },
        { "_ZN1A5arrayILm8EE4sizeB5cxx11Ev", "A::array<8>::size" },
        { "main::{lambda(int)#1}::operator()", "main::{lambda(int)#1}::operator()" },
        { "f::{lambda(std::vector<int, std::allocator<int> > const&, int)#1}::operator()",
          "f::{lambda(...)#1}::operator()" },
        { "std::vector<unsigned long, std::allocator<unsigned long> >::size",
          "std::vector<unsigned long>::size" },
        { "<alloc::vec::Vec<T> as core::ops::index::Index<I>>::index",
          "<alloc::vec::Vec<T> as core::ops::index::Index<I>>::index" },
        { "(anonymous namespace)::twice<double>", "(anonymous namespace)::twice<double>" },
        { "prog+0x1234", "prog+0x1234" },
        { "a<b<c<d", "a<b<c<d" },
        { "operator", "operator" },
        { "", "" },
    };
    struct prof__arena a = { 0 };
    struct prof__namer *n = prof__namer_new(&a);

    for (size_t i = 0; n && i < ARRAY_LEN(cases); i++)
        CHECK_STR(prof__namer_show(n, cases[i].from, PROF__NAMES_SHORT), cases[i].to,
                  cases[i].from);
    if (n) {
        CHECK_STR(prof__namer_show(n, "_Znwm", PROF__NAMES_FULL), "operator new(unsigned long)",
                  "full");
        CHECK_STR(prof__namer_show(n, "_Znwm", PROF__NAMES_RAW), "_Znwm", "raw");
    }
    prof__arena_free(&a);
}

/* Proper names that stand for more text than there are atoms, that nest beyond any stack, and that
 * are longer than other demanglers take. */
static void test_large_names(void)
{
    struct prof__arena a = { 0 };
    struct prof__namer *n = prof__namer_new(&a);
    static char name[40000];
    size_t at;

    CHECK(n, "memory");
    at = (size_t)sprintf(name, "_Z1f1aIiE");
    for (int i = 0; i < 30; i++) /* each doubles the one before */
        at +=
            (size_t)sprintf(name + at, "S%s_IS%s_S%s_E", i ? "0" : "", i ? "0" : "", i ? "0" : "");
    CHECK(prof__namer_show(n, name, PROF__NAMES_FULL), "doubles");
    for (int kind = 0; kind < 4; kind++) {
        static const char *const open[] = { "P", "N1aI", "1aI", "F" };

        at = (size_t)sprintf(name, "_Z1f");
        while (at < 15000)
            at += (size_t)sprintf(name + at, "%s", open[kind]);
        sprintf(name + at, "i");
        CHECK_STR(prof__namer_show(n, name, PROF__NAMES_FULL), name, "too deep");
        CHECK(prof__namer_show(n, name, PROF__NAMES_SHORT), "too deep: %s", open[kind]);
    }
    at = 0;
    for (; at < sizeof(name) - 2; at++)
        name[at] = at % 2 ? '<' : 'a';
    name[at] = '\0';
    CHECK(prof__namer_show(n, name, PROF__NAMES_SHORT), "lists in lists");

    /* Longer than 1 KiB, wide rather than deep: c++filt gives up. */
    at = (size_t)sprintf(name, "_Z1f");
    for (int i = 0; i < 400; i++)
        at += (size_t)sprintf(name + at, "4type");
    CHECK(strncmp(prof__namer_show(n, name, PROF__NAMES_FULL), "f(type, type, ", 14) == 0, "long");
    prof__arena_free(&a);
}

/* What a damaged file may have for a name: each is done with, and soon. */
static void test_damaged_names(void)
{
    static const char *const names[] = {
        "_ZNSt3mapIiNSt7__cxx1112basic_stringIcSt11char_traitsIcESaIcEEESt4lessIiESaISt4pairIKiS5_"
        "EEE2atERKi",
        "_ZZN3net6Server5startEvENKUlT_DpT0_E0_clIdJiS_EEEDaS1_S3_",
        "_ZN4llvm17make_filter_rangeINS_14iterator_rangeIPKNS_1AEEESt8functionIFbPKNS2_6SymbolEEEE"
        "ENS1_INS_20filter_iterator_implIDTclsr3stdE5beginclsr3stdE7declvalIRT_EEEET0_EEEOSD_SG_",
        "_ZN73_$LT$alloc..vec..Vec$LT$T$GT$$u20$as$u20$core..ops..Index$GT$5index17h0123456789abcde"
        "fE",
        "_RNvXs_NtNtC3std2io5errorNtB4_5ErrorNtNtC4core3fmt5Debug3fmt",
        "_RINvNtC3std3mem8align_ofDG_INtC4core5Fn_TRShERL_jEp6OutputjELB_FKCEuAhj8_E",
    };
    struct prof__arena a = { 0 };
    struct prof__namer *n = prof__namer_new(&a);
    uint64_t seed = 20240901;
    int64_t slowest = 0;

    for (int i = 0; n && i < MUTATIONS; i++) {
        char name[512];
        const char *from = names[i % (int)ARRAY_LEN(names)];
        size_t size = strlen(from);

        strcpy(name, from);
        for (uint64_t k = prof__random(&seed) % 4; k-- > 0;) {
            size_t at = 2 + prof__random(&seed) % (size - 2);

            switch (prof__random(&seed) % 3) {
            case 0:
                name[at] = (char)(1 + prof__random(&seed) % 255);
                break;
            case 1:
                name[at] = from[2 + prof__random(&seed) % (size - 2)];
                break;
            default:
                memmove(name + at, name + at + 1, size - at);
            }
        }
        int64_t start = prof__monotonic_ns();
        CHECK(prof__namer_show(n, name, PROF__NAMES_FULL), "%s", name);
        CHECK(prof__namer_show(n, name, PROF__NAMES_SHORT), "%s", name);
        slowest = PROF_MAX(slowest, prof__monotonic_ns() - start);
    }
    CHECK(slowest < SLOWEST_MS * (int64_t)1000000, "slowest: %lld ns", (long long)slowest);
    prof__arena_free(&a);
}

int main(void)
{
    test_what_a_name_says();
    test_what_is_no_name_stays_as_it_is();
    test_names_for_people();
    test_large_names();
    test_damaged_names();
    return check_report();
}
