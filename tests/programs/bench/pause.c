/* The child: it says into a fifo who it is and when it ran, and waits to be killed.

   pause FIFO         the smallest child
   pause FIFO deaf    it ignores SIGTERM
   pause FIFO N       N of them, the others forked from the first: for an init, which
                      starts one program

   What it says is its pid and CLOCK_MONOTONIC in nanoseconds, 8 bytes each. */
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

static void say(const char *fifo)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    long long words[2] = {getpid(), now.tv_sec * 1000000000LL + now.tv_nsec};
    int fd = open(fifo, O_WRONLY);
    if (fd < 0 || write(fd, words, sizeof words) != sizeof words)
        _exit(1);
    close(fd);
}

int main(int argc, char **argv)
{
    if (argc < 2)
        return 2;
    if (argc > 2 && strcmp(argv[2], "deaf") == 0)
        signal(SIGTERM, SIG_IGN);
    else if (argc > 2)
        for (int more = atoi(argv[2]) - 1; more > 0; more--)
            if (fork() == 0)
                break;
    say(argv[1]);
    for (;;)
        pause();
}
