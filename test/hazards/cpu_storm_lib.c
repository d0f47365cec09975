/* cpu_storm_lib.c - something to load, call and unload. */
int storm_call(int n);

int storm_call(int n)
{
    volatile int sum = 0;

    for (int i = 0; i < n; i++)
        sum += i;
    return sum;
}
