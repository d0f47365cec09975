/*
 * export.h - PROF_API marks what libprof's shared libraries export.
 *
 * Everything is compiled with hidden visibility; only what carries PROF_API leaves the library.
 */
#ifndef PROF_EXPORT_H
#define PROF_EXPORT_H

#define PROF_API __attribute__((visibility("default")))

#endif
