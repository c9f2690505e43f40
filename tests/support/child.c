/* A child for the boss's tests: child NAME WORD...

   It says what happens to it, each time in one write of one line, and pauses for ever.

   stubborn    SIGTERM is reported and survived
   obedient    SIGTERM is reported, then it ends with status 0
   below       it starts a process in its own group, which reports and survives SIGTERM
   exit=N      it ends with status N at once
   once=PATH   it ends with status 1 if there is no PATH, and makes it
   (no word)   SIGTERM has its default action

   SIGINT is reported and survived, unless the first word is "plain". */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static char asked[200], interrupted[200];
static int obedient;

static void on_term(int signum)
{
    (void)signum;
    if (write(1, asked, strlen(asked)) < 0 || obedient)
        _exit(0);
}

static void on_int(int signum)
{
    (void)signum;
    if (write(1, interrupted, strlen(interrupted)) < 0)
        _exit(0);
}

static void say(const char *name, const char *what)
{
    char line[200];
    int length = snprintf(line, sizeof line, "%s %s %d\n", name, what, (int)getpid());
    if (write(1, line, length) < 0)
        _exit(0);
}

int main(int argc, char **argv)
{
    const char *name = argc > 1 ? argv[1] : "child";
    snprintf(asked, sizeof asked, "%s asked\n", name);
    snprintf(interrupted, sizeof interrupted, "%s interrupted\n", name);
    if (argc < 3 || strcmp(argv[2], "plain"))
        signal(SIGINT, on_int);
    for (int i = 2; i < argc; i++) {
        if (!strncmp(argv[i], "exit=", 5))
            _exit(atoi(argv[i] + 5));
        if (!strncmp(argv[i], "once=", 5) && !mkdir(argv[i] + 5, 0700))
            _exit(1);
        obedient |= !strcmp(argv[i], "obedient");
        if (obedient || !strcmp(argv[i], "stubborn"))
            signal(SIGTERM, on_term);
        if (!strcmp(argv[i], "below")) {
            if (!fork()) {
                snprintf(asked, sizeof asked, "%s below asked\n", name);
                obedient = 0;
                signal(SIGTERM, on_term);
                say(name, "below");
                for (;;)
                    pause();
            }
        }
    }
    say(name, "ready");
    for (;;)
        pause();
}
