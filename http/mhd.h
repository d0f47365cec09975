/*
 * mhd.h - is libmicrohttpd there?
 *
 * libprof-http.so opens it when it is itself loaded (mhd_loaded.c), hidden from the profiles:
 * libmicrohttpd brings GnuTLS, and that allocates 115 KiB before main(), which is no business of
 * the program's. And where it is missing, the program starts all the same.
 */
#ifndef PROF_HTTP_MHD_H
#define PROF_HTTP_MHD_H

/* 0, or -ENOSYS with the sentence of prof_last_error(). Before any MHD_*(). */
int prof__mhd_need(void);

#endif
