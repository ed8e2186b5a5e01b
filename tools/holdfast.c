#include <stdio.h>

int main(void)
{
    (void)puts("holdfastd " HOLDFAST_VERSION);
    return 0;
}
