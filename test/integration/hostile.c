/*
 * hostile.c - a program whose every name tries to become markup in a page that shows its profiles:
 * a function, its source file, a thread, a label, a custom profile.
 *
 *   hostile     prints the address it serves on; ends when its input does
 */
#include <prof/http.h>
#include <prof/prof.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <unistd.h>

extern void *(*volatile hostile_alloc)(size_t size); /* in hostile_symbol.c */

#line 20 "<svg onload=hit('file')>\"'.c"
__attribute__((noinline)) static void *from_hostile_file(size_t size)
{
    void *p = hostile_alloc(size);

    if (!p)
        abort();
    return p;
}

int main(void)
{
    static char *volatile kept[64];
    static int key;
    struct prof_profile *custom;
    char address[64], c;

    prof_set_heap_rate(1);
    prctl(PR_SET_NAME, "<b>'\"&</b>");
    if (prof_http_start("127.0.0.1:0") < 0 || prof_http_address(address, sizeof(address)) < 0)
        return 1;
    if (prof_labels_push("<i>key", "<img src=x onerror=hit('label')>\"'") < 0)
        return 1;
    for (int i = 0; i < 64; i++)
        kept[i] = from_hostile_file(100);
    prof_labels_pop();
    if (prof_profile_new("<img/src=x/onerror=hit(7)>&#39;", &custom) < 0 ||
        prof_profile_add(custom, &key, 0) < 0)
        return 1;
    printf("%s\n", address);
    fflush(stdout);
    while (read(0, &c, 1) > 0)
        ;
    return kept[0] == NULL;
}
