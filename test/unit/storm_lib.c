/*
 * storm_lib.c - a small library for test_loader_storm, built several times: the same size, loaded
 * to the same addresses, with frames of other sizes (FRAME bytes) in the same places.
 */
__attribute__((visibility("default"))) int storm_call(int depth, void (*f)(void));

__attribute__((noinline)) int storm_call(int depth, void (*f)(void))
{
    volatile char frame[FRAME];
    int r = 0;

    frame[0] = (char)depth;
    if (depth == 0)
        f();
    else
        r = storm_call(depth - 1, f);
    return r + frame[0];
}
