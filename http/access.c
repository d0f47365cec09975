typedef int prof__placeholder;
