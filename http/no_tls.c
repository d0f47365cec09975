/*
 * no_tls.c - what libmicrohttpd wants of GnuTLS, for a static program that has none.
 *
 * libmicrohttpd.a of a distribution can serve https, so it wants libgnutls.a, and that wants
 * libp11-kit.a, which does not exist: p11-kit is only made as a shared library. libprof serves no
 * https. These functions say to libmicrohttpd that there is no TLS; it serves http as ever, and
 * refuses to start with MHD_USE_TLS. They are weak, and in a library of their own, to be linked
 * last: in a program that has GnuTLS, GnuTLS comes first.
 */
#include <stdlib.h>

#define WEAK __attribute__((weak, visibility("default")))

/* GNUTLS_E_UNIMPLEMENTED_FEATURE: an answer to all that return int, and those that return ssize_t.
 * Nobody gets a session, so nobody gets further. */
static long refuse(void)
{
    return -1250;
}

#define REFUSE(name) extern long gnutls_##name(void) __attribute__((alias("refuse"))) WEAK
REFUSE(alpn_set_protocols);
REFUSE(bye);
REFUSE(certificate_allocate_credentials);
REFUSE(certificate_free_credentials);
REFUSE(certificate_server_set_request);
REFUSE(certificate_set_dh_params);
REFUSE(certificate_set_retrieve_function2);
REFUSE(certificate_set_retrieve_function3);
REFUSE(certificate_set_x509_key_mem);
REFUSE(certificate_set_x509_key_mem2);
REFUSE(certificate_set_x509_trust_mem);
REFUSE(cipher_get);
REFUSE(credentials_set);
REFUSE(deinit);
REFUSE(dh_params_deinit);
REFUSE(dh_params_import_pkcs3);
REFUSE(dh_params_init);
REFUSE(global_deinit);
REFUSE(global_init);
REFUSE(handshake);
REFUSE(init);
REFUSE(priority_deinit);
REFUSE(priority_init);
REFUSE(priority_init2); /* libmicrohttpd 1.0 */
REFUSE(priority_set);
REFUSE(protocol_get_version);
REFUSE(psk_allocate_server_credentials);
REFUSE(psk_free_server_credentials);
REFUSE(psk_set_server_credentials_function);
REFUSE(record_check_pending);
REFUSE(record_get_direction);
REFUSE(record_recv);
REFUSE(record_send);
REFUSE(session_set_ptr);
REFUSE(transport_set_int2);

WEAK const char *gnutls_strerror(int error);
WEAK void *gnutls_session_get_ptr(void *session);
extern WEAK void *(*gnutls_malloc)(size_t size);

const char *gnutls_strerror(int error)
{
    return "this program is linked without GnuTLS";
}

void *gnutls_session_get_ptr(void *session)
{
    return NULL;
}

void *(*gnutls_malloc)(size_t size) = malloc;
