/* Clocks that a test may set, in front of the C library's: of the process that loads this (LD_PRELOAD), and of no
 * other. The file that CLOCK_OFFSETS names holds two 64-bit numbers, the seconds that are added to CLOCK_REALTIME and
 * to CLOCK_BOOTTIME. */
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

static const volatile int64_t *offsets;

__attribute__((constructor)) static void look_at_offsets(void) {
    const char *path = getenv("CLOCK_OFFSETS");
    int file = path ? open(path, O_RDONLY | O_CLOEXEC) : -1;
    if (file < 0) return;
    void *page = mmap(NULL, 2 * sizeof *offsets, PROT_READ, MAP_SHARED, file, 0);
    close(file);
    if (page != MAP_FAILED) offsets = page;
}

int clock_gettime(clockid_t clock, struct timespec *time) {
    long result = syscall(SYS_clock_gettime, clock, time);
    if (result == 0 && offsets && clock == CLOCK_REALTIME) time->tv_sec += offsets[0];
    if (result == 0 && offsets && clock == CLOCK_BOOTTIME) time->tv_sec += offsets[1];
    return (int)result;
}
