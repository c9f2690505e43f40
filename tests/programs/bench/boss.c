/* The measure for a boss: boss N PROGRAM [ARGUMENT...] starts N children and waits.

   A child that dies is replaced at once.  SIGTERM or SIGINT: it sends SIGTERM to all,
   reaps all, and dies of the same signal itself.  It does nothing else: no file, no
   delay before a restart, no grace, no guard, no log. */
#define _GNU_SOURCE
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

extern char **environ;

static posix_spawnattr_t attributes;

static pid_t start(char **command)
{
    pid_t pid;
    int error = posix_spawn(&pid, command[0], NULL, &attributes, command, environ);
    if (error) {
        fprintf(stderr, "boss: %s: %s\n", command[0], strerror(error));
        exit(1);
    }
    return pid;
}

int main(int argc, char **argv)
{
    if (argc < 3) {
        fprintf(stderr, "usage: boss N PROGRAM [ARGUMENT...]\n");
        return 2;
    }
    int wanted = atoi(argv[1]), signum;
    pid_t *pids = calloc(wanted, sizeof *pids), pid;
    sigset_t heard, none;

    sigemptyset(&none);
    sigemptyset(&heard);
    sigaddset(&heard, SIGTERM);
    sigaddset(&heard, SIGINT);
    sigaddset(&heard, SIGCHLD);
    sigprocmask(SIG_BLOCK, &heard, NULL);

    posix_spawnattr_init(&attributes);
    posix_spawnattr_setsigmask(&attributes, &none);
    posix_spawnattr_setpgroup(&attributes, 0);
    posix_spawnattr_setflags(&attributes,
                             POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETPGROUP);
    for (int i = 0; i < wanted; i++)
        pids[i] = start(argv + 2);

    while (sigwait(&heard, &signum) == 0 && signum == SIGCHLD)
        while ((pid = waitpid(-1, NULL, WNOHANG)) > 0)
            for (int i = 0; i < wanted; i++)
                if (pids[i] == pid) {
                    pids[i] = start(argv + 2);
                    break;
                }

    for (int i = 0; i < wanted; i++)
        kill(pids[i], SIGTERM);
    while (wait(NULL) > 0)
        ;
    sigprocmask(SIG_SETMASK, &none, NULL);
    raise(signum);
}
