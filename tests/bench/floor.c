/* The floor: what relaying a datagram into a segment costs at least. One recvfrom, one sendto, nothing in between.
 * TO-ADDRESS may be a broadcast address: the copy that the kernel loops back to us is dropped by a socket filter.
 *
 *     floor PORT TO-ADDRESS TO-PORT
 */
#include <arpa/inet.h>
#include <linux/filter.h>
#include <linux/if_packet.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>

int main(int argc, char **argv)
{
    static char data[65536];
    struct sockaddr_in here = {.sin_family = AF_INET}, there = here, from;
    int size = 8 << 20, yes = 1;
    struct sock_filter steps[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, SKF_AD_OFF + SKF_AD_PKTTYPE),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, PACKET_LOOPBACK, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, 0),
        BPF_STMT(BPF_RET | BPF_K, -1),
    };
    struct sock_fprog program = {sizeof steps / sizeof *steps, steps};

    if (argc != 4 || inet_pton(AF_INET, argv[2], &there.sin_addr) != 1) {
        fprintf(stderr, "usage: floor PORT TO-ADDRESS TO-PORT\n");
        return 2;
    }
    here.sin_port = htons(atoi(argv[1]));
    there.sin_port = htons(atoi(argv[3]));

    int fd = socket(AF_INET, SOCK_DGRAM, 0);
    setsockopt(fd, SOL_SOCKET, SO_BROADCAST, &yes, sizeof yes);
    setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &size, sizeof size); /* the relay's own size: a fair start */
    setsockopt(fd, SOL_SOCKET, SO_ATTACH_FILTER, &program, sizeof program);
    if (bind(fd, (struct sockaddr *)&here, sizeof here) != 0) {
        perror("floor: bind");
        return 1;
    }
    for (;;) {
        socklen_t length = sizeof from;
        ssize_t n = recvfrom(fd, data, sizeof data, 0, (struct sockaddr *)&from, &length);
        if (n >= 0)
            sendto(fd, data, n, 0, (struct sockaddr *)&there, sizeof there);
    }
}
