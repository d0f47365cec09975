#include PROF_HEADER

int main(void)
{
    return 0;
}
