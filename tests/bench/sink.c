/* Counts what arrives, until SIGTERM.
 *
 *     sink PORT
 *
 * Prints {"arrived", "bytes", "dropped", "seconds", "latency": {...} | null} as JSON: dropped are those that found
 * the buffer full, seconds from the first to the last, latency in us of those that carry "T=" and 19 digits
 * (flood's clock, so both must run on one machine).
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>

#ifndef SO_MEMINFO
#define SO_MEMINFO 55
#endif

enum { BATCH = 64, ROOM = 8192, SAMPLES = 1 << 20, WORDS = 9, DROPS = 8 };

static volatile sig_atomic_t over;
static unsigned latency[SAMPLES];

static void stop(int signal) { over = signal; }

static long long now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec * 1000000000LL + t.tv_nsec;
}

static int ascending(const void *a, const void *b)
{
    unsigned x = *(const unsigned *)a, y = *(const unsigned *)b;
    return (x > y) - (x < y);
}

int main(int argc, char **argv)
{
    static char data[BATCH][ROOM];
    static struct mmsghdr headers[BATCH];
    static struct iovec pieces[BATCH];
    struct sockaddr_in here = {.sin_family = AF_INET};
    long long arrived = 0, bytes = 0, first = 0, last = 0;
    unsigned words[WORDS] = {0};
    int samples = 0, size = 64 << 20;

    if (argc != 2) { fprintf(stderr, "usage: sink PORT\n"); return 2; }
    here.sin_port = htons(atoi(argv[1]));
    int fd = socket(AF_INET, SOCK_DGRAM, 0);
    setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &size, sizeof size);
    if (bind(fd, (struct sockaddr *)&here, sizeof here) != 0) { perror("sink: bind"); return 1; }
    sigaction(SIGTERM, &(struct sigaction){.sa_handler = stop}, NULL); /* no SA_RESTART: it ends the wait */
    for (int i = 0; i < BATCH; i++) {
        pieces[i] = (struct iovec){data[i], ROOM};
        headers[i].msg_hdr = (struct msghdr){.msg_iov = &pieces[i], .msg_iovlen = 1};
    }
    while (!over) {
        int n = recvmmsg(fd, headers, BATCH, MSG_WAITFORONE, NULL);
        if (n <= 0) continue;
        last = now();
        if (!first) first = last;
        arrived += n;
        for (int i = 0; i < n; i++) {
            bytes += headers[i].msg_len;
            char *stamp = memmem(data[i], headers[i].msg_len, "T=", 2);
            if (!stamp || samples == SAMPLES || data[i] + headers[i].msg_len - stamp < 21) continue;
            long long sent = 0;
            for (int c = 2; c < 21; c++) sent = sent * 10 + stamp[c] - '0';
            if (sent > 0 && sent <= last) latency[samples++] = (last - sent) / 1000;
        }
    }
    socklen_t length = sizeof words;
    getsockopt(fd, SOL_SOCKET, SO_MEMINFO, words, &length);
    printf("{\"arrived\": %lld, \"bytes\": %lld, \"dropped\": %u, \"seconds\": %.6f, \"latency\": ", arrived, bytes,
           words[DROPS], (last - first) / 1e9);
    qsort(latency, samples, sizeof *latency, ascending);
    if (samples)
        printf("{\"p50\": %u, \"p95\": %u, \"p99\": %u, \"max\": %u}}\n", latency[samples / 2],
               latency[(long long)samples * 95 / 100], latency[(long long)samples * 99 / 100], latency[samples - 1]);
    else
        printf("null}\n");
    return 0;
}
