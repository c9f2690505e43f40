/* The measure for a boss: boss N PROGRAM starts N children and waits.

   SIGTERM: it sends SIGTERM to all, reaps all, and dies of SIGTERM itself.  It does
   nothing else: no restart, no grace, no groups, no log. */
#define _GNU_SOURCE
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

extern char **environ;

int main(int argc, char **argv)
{
    if (argc != 3) {
        fprintf(stderr, "usage: boss N PROGRAM\n");
        return 2;
    }
    int wanted = atoi(argv[1]);
    pid_t *pids = calloc(wanted, sizeof *pids);
    char *command[] = {argv[2], NULL};
    sigset_t heard, none;

    sigemptyset(&none);
    sigemptyset(&heard);
    sigaddset(&heard, SIGTERM);
    sigprocmask(SIG_BLOCK, &heard, NULL);

    posix_spawnattr_t attributes;
    posix_spawnattr_init(&attributes);
    posix_spawnattr_setsigmask(&attributes, &none);
    posix_spawnattr_setpgroup(&attributes, 0);
    posix_spawnattr_setflags(&attributes,
                             POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETPGROUP);
    for (int i = 0; i < wanted; i++) {
        int error = posix_spawn(&pids[i], argv[2], NULL, &attributes, command, environ);
        if (error) {
            fprintf(stderr, "boss: %s\n", strerror(error));
            return 1;
        }
    }
    if (write(1, "up\n", 3) != 3)
        return 1;

    int signum;
    sigwait(&heard, &signum);
    for (int i = 0; i < wanted; i++)
        kill(pids[i], SIGTERM);
    while (wait(NULL) > 0)
        ;
    sigprocmask(SIG_SETMASK, &none, NULL);
    raise(signum);
}
