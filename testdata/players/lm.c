/* Saves what libmms receives: lm URL OUTPUT [BYTE-OFFSET | tSECONDS]
 * mmst:// is MMS over TCP, mmsh:// is HTTP, and mms:// is what libmms makes of it: HTTP, then MMS, on one port.
 * The optional third argument seeks once, after 100,000 bytes. cc -o lm lm.c -lmms
 * LM_RCVBUF=BYTES gives its socket a receive buffer of that size, as a small player has, where this machine's kernel
 * would let it grow to megabytes.
 * Exit code 0 at the end of the stream, 2 when the server refuses. LIBMMS_DEBUG=1 traces every command. */
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <libmms/mmsx.h>
#include <libmms/mms.h>
static int small_connect(void *data, const char *host, int port) {
    int bytes = atoi(getenv("LM_RCVBUF")), s = mms_get_default_io_impl()->connect(data, host, port);
    if (s >= 0 && setsockopt(s, SOL_SOCKET, SO_RCVBUF, &bytes, sizeof bytes)) perror("SO_RCVBUF");
    return s;
}
int main(int c, char **v) {                 /* lm url outfile [byte-offset | t<seconds>] */
    mms_io_t io = *mms_get_default_io_impl();
    if (getenv("LM_RCVBUF")) io.connect = small_connect;
    mmsx_t *m = mmsx_connect(&io, NULL, v[1], 10000000);
    if (!m) { fprintf(stderr, "connect failed\n"); return 2; }
    fprintf(stderr, "connected seekable=%d len=%u hdr=%u\n", mmsx_get_seekable(m), mmsx_get_length(m), mmsx_get_asf_header_len(m));
    FILE *f = fopen(v[2], "wb"); static char b[32768]; long tot = 0; int n, did = 0;
    while ((n = mmsx_read(&io, m, b, sizeof b)) > 0) {
        fwrite(b, 1, n, f); tot += n;
        if (c > 3 && !did && tot > 100000) {
            did = 1;
            if (v[3][0] == 't') fprintf(stderr, "time_seek=%d\n", mmsx_time_seek(&io, m, atof(v[3] + 1)));
            else fprintf(stderr, "seek to %s -> %ld\n", v[3], (long)mmsx_seek(&io, m, atol(v[3]), SEEK_SET));
        }
    }
    fprintf(stderr, "read %ld bytes\n", tot); fclose(f); mmsx_close(m); return 0;
}
