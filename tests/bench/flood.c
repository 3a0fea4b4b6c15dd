/* Sends datagrams made from templates, at a rate or as fast as it goes.
 *
 *     flood [-r RATE] [-t SECONDS] [-n COUNT] [-u USERS -s FIRST-SOURCE] [-p SOURCE-PORT] ADDRESS PORT FILE...
 *
 * RATE in datagrams per second (0: flat out). In a template, a run of at least 6 '$' becomes the number of the
 * datagram, of 4 '%' the number of the user, of 19 '@' the time in ns (CLOCK_MONOTONIC), all as digits with zeros
 * in front. A user says every FILE in turn, then the next one speaks; user N speaks from FIRST-SOURCE + N. Nothing is
 * received. Prints {"sent": N, "refused": N, "seconds": S}.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <linux/filter.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { BATCH = 32, LONGEST = 8192, TEMPLATES = 64, SPOTS = 8 };

struct spot { char kind; int at, length; };
struct template { char data[LONGEST]; int length, spots; struct spot spot[SPOTS]; };

static struct template templates[TEMPLATES];
static volatile sig_atomic_t over;

static void stop(int signal) { over = signal; }

static long long now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec * 1000000000LL + t.tv_nsec;
}

static int least(char c) { return c == '$' ? 6 : c == '%' ? 4 : c == '@' ? 19 : LONGEST; }

static void load(struct template *t, const char *path)
{
    FILE *file = fopen(path, "rb");
    if (!file) { perror(path); exit(2); }
    t->length = fread(t->data, 1, LONGEST, file);
    fclose(file);
    for (int at = 0, end; at < t->length; at = end) {
        for (end = at + 1; end < t->length && t->data[end] == t->data[at]; end++) ;
        if (end - at >= least(t->data[at]) && t->spots < SPOTS)
            t->spot[t->spots++] = (struct spot){t->data[at], at, end - at};
    }
}

static void write_number(char *to, int length, unsigned long long number)
{
    while (length--) { to[length] = '0' + number % 10; number /= 10; }
}

int main(int argc, char **argv)
{
    static char data[BATCH][LONGEST], control[BATCH][CMSG_SPACE(sizeof(struct in_pktinfo))];
    static struct mmsghdr headers[BATCH];
    static struct iovec pieces[BATCH];
    struct sockaddr_in to = {.sin_family = AF_INET}, here = to;
    struct in_addr first = {0};
    long long rate = 0, count = -1, sent = 0, refused = 0;
    double seconds = 1e9;
    int users = 1, files = 0, yes = 1, size = 4 << 20, option;
    struct sock_filter nothing = BPF_STMT(BPF_RET | BPF_K, 0); /* the kernel loops broadcasts back */
    struct sock_fprog program = {1, &nothing};

    while ((option = getopt(argc, argv, "r:t:n:u:s:p:")) != -1) {
        if (option == 'r') rate = atoll(optarg);
        else if (option == 't') seconds = atof(optarg);
        else if (option == 'n') count = atoll(optarg);
        else if (option == 'u') users = atoi(optarg);
        else if (option == 's') inet_pton(AF_INET, optarg, &first);
        else if (option == 'p') here.sin_port = htons(atoi(optarg));
        else return 2;
    }
    if (argc - optind < 3 || inet_pton(AF_INET, argv[optind], &to.sin_addr) != 1) {
        fprintf(stderr, "usage: flood [options] ADDRESS PORT FILE...\n");
        return 2;
    }
    to.sin_port = htons(atoi(argv[optind + 1]));
    for (int i = optind + 2; i < argc && files < TEMPLATES; i++) load(&templates[files++], argv[i]);

    int fd = socket(AF_INET, SOCK_DGRAM, 0);
    setsockopt(fd, SOL_SOCKET, SO_BROADCAST, &yes, sizeof yes);
    setsockopt(fd, SOL_SOCKET, SO_SNDBUFFORCE, &size, sizeof size);
    setsockopt(fd, SOL_SOCKET, SO_ATTACH_FILTER, &program, sizeof program);
    if (bind(fd, (struct sockaddr *)&here, sizeof here) != 0) { perror("flood: bind"); return 1; }
    signal(SIGTERM, stop);
    for (int i = 0; i < BATCH; i++) {
        pieces[i].iov_base = data[i];
        headers[i].msg_hdr = (struct msghdr){
            .msg_name = &to, .msg_namelen = sizeof to, .msg_iov = &pieces[i], .msg_iovlen = 1};
        if (first.s_addr) {
            struct cmsghdr *head = (struct cmsghdr *)control[i];
            *head = (struct cmsghdr){CMSG_LEN(sizeof(struct in_pktinfo)), IPPROTO_IP, IP_PKTINFO};
            headers[i].msg_hdr.msg_control = control[i];
            headers[i].msg_hdr.msg_controllen = sizeof control[i];
        }
    }

    long long began = now(), end = began + (long long)(seconds * 1e9), number = 0;
    while (!over && number != count && now() < end) {
        int due = BATCH;
        if (rate) { /* what should have left by now, and at least one: sleep until its time */
            long long when = began + number * 1000000000LL / rate;
            struct timespec at = {when / 1000000000LL, when % 1000000000LL};
            clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &at, NULL);
            long long late = (now() - began) * rate / 1000000000LL - number + 1;
            due = late < 1 ? 1 : late < BATCH ? late : BATCH;
        }
        if (count >= 0 && due > count - number) due = count - number;
        for (int i = 0; i < due; i++, number++) {
            struct template *t = &templates[number % files];
            int user = number / files % users;
            memcpy(data[i], t->data, t->length);
            for (int s = 0; s < t->spots; s++) {
                struct spot *spot = &t->spot[s];
                unsigned long long value = spot->kind == '$' ? number : spot->kind == '%' ? user : now();
                write_number(data[i] + spot->at, spot->length, value);
            }
            pieces[i].iov_len = t->length;
            if (first.s_addr) {
                struct in_pktinfo *info = (struct in_pktinfo *)CMSG_DATA((struct cmsghdr *)control[i]);
                info->ipi_spec_dst.s_addr = htonl(ntohl(first.s_addr) + user);
            }
        }
        for (int done = 0; done < due;) {
            int n = sendmmsg(fd, headers + done, due - done, 0);
            if (n > 0) { done += n; sent += n; }
            else if (errno != EINTR) { done++; refused++; }
            else if (over) break;
        }
    }
    printf("{\"sent\": %lld, \"refused\": %lld, \"seconds\": %.6f}\n", sent, refused, (now() - began) / 1e9);
    return 0;
}
