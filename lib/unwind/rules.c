/* placeholder */
typedef int prof__placeholder;
