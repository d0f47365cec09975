typedef int prof__placeholder1;
