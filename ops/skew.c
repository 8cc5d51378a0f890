/* A clock that is ahead or behind, for tests: preloaded, it adds $SKEW seconds to the time of day that a process asks for, or what
   stands in the file $SKEWFILE at each call, so that a clock can jump while the process runs. `ops/test-long at` uses it.

   Only the time of day is moved: steady clocks are the kernel's, so that timeouts take as long as ever. (libfaketime moves those,
   too, and waits of RocksDB's threads then do not end.) Times of files and what the kernel itself compares with its clock stay as
   they are.

       cc -shared -fPIC -O2 -o skew.so ops/skew.c && LD_PRELOAD=./skew.so SKEW=34560000 PROGRAM */
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

static long offset(void) {
    const char *path = getenv("SKEWFILE");
    if (path == NULL) {
        const char *seconds = getenv("SKEW");
        return seconds == NULL ? 0 : atol(seconds);
    }
    char text[32] = {0};
    int file = open(path, O_RDONLY | O_CLOEXEC);
    if (file < 0) return 0;
    long count = read(file, text, sizeof text - 1);
    close(file);
    return count > 0 ? atol(text) : 0;
}

int clock_gettime(clockid_t clock, struct timespec *time) {
    /* The system call itself: the function of this name in the C library is the one that is replaced. */
    int result = (int)syscall(SYS_clock_gettime, clock, time);
    if (result == 0 && (clock == CLOCK_REALTIME || clock == CLOCK_REALTIME_COARSE)) time->tv_sec += offset();
    return result;
}

int gettimeofday(struct timeval *restrict time, void *restrict zone) {
    (void)zone;
    struct timespec now;
    if (clock_gettime(CLOCK_REALTIME, &now) != 0) return -1;
    time->tv_sec = now.tv_sec;
    time->tv_usec = now.tv_nsec / 1000;
    return 0;
}

time_t time(time_t *result) {
    struct timespec now;
    if (clock_gettime(CLOCK_REALTIME, &now) != 0) return -1;
    if (result != NULL) *result = now.tv_sec;
    return now.tv_sec;
}
