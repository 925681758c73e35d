/* Put under a process with LD_PRELOAD: ends it at a chosen file operation below a folder, as a power cut would.
 *
 * Every call that changes files is counted: a write that is cut writes its first half, others do nothing. What happened
 * is noted in a log, a line for each call: what was written and not yet flushed may be anything after a power cut.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

static char root[PATH_MAX];
static int left = -1, notes = -1;

/* Below `folder`, the call after `calls` others is the last; less than 0: none is. */
void cut(const char *folder, int calls, const char *log) {
    snprintf(root, sizeof root, "%s", folder);
    left = calls;
    notes = syscall(SYS_openat, AT_FDCWD, log, O_WRONLY | O_CREAT | O_TRUNC, 0644);
}

/* What is called from here on in this process is noted, and none of it is the last. */
void spare(void) { left = -1; }

static const char *at(int folder, const char *name, char *path) {
    char link[64];
    if (name && name[0] == '/') {
        snprintf(path, PATH_MAX, "%s", name);
        return path;
    }
    if (folder == AT_FDCWD) {
        if (!getcwd(path, PATH_MAX)) return "";
    } else {
        snprintf(link, sizeof link, "/proc/self/fd/%d", folder);
        ssize_t length = readlink(link, path, PATH_MAX - 1);
        if (length < 0) return "";
        path[length] = 0;
    }
    if (name) {
        size_t length = strlen(path);
        snprintf(path + length, PATH_MAX - length, "/%s", name);
    }
    return path;
}

static void note(const char *what, int folder, const char *name) {
    char path[PATH_MAX], line[PATH_MAX + 32];
    int length = snprintf(line, sizeof line, "%s %s\n", what, at(folder, name, path));
    syscall(SYS_write, notes, line, length);
}

/* Whether this call is the last one. */
static int last(const char *what, int folder, const char *name) {
    char path[PATH_MAX];
    if (notes < 0 || strncmp(at(folder, name, path), root, strlen(root))) return 0;
    if (left == 0) return 1;
    left--;
    note(what, folder, name);
    return 0;
}

static void end(void) { _exit(77); }

#define REAL(name) ((__typeof__(&name))dlsym(RTLD_NEXT, #name))
#define CUT(what, folder, name) if (last(what, folder, name)) end()
#define MOVE(old, from, folder, to) CUT("rename", folder, to); if (notes >= 0) note("from", old, from)

ssize_t write(int file, const void *bytes, size_t size) {
    if (last("write", file, NULL)) {
        syscall(SYS_write, file, bytes, size / 2);
        end();
    }
    return syscall(SYS_write, file, bytes, size);
}

int fsync(int file) { CUT("flush", file, NULL); return REAL(fsync)(file); }
int fdatasync(int file) { CUT("flush", file, NULL); return REAL(fdatasync)(file); }
int ftruncate64(int file, off64_t size) { CUT("write", file, NULL); return REAL(ftruncate64)(file, size); }
int ftruncate(int file, off_t size) { CUT("write", file, NULL); return REAL(ftruncate)(file, size); }
int mkdir(const char *name, mode_t mode) { CUT("mkdir", AT_FDCWD, name); return REAL(mkdir)(name, mode); }
int rmdir(const char *name) { CUT("remove", AT_FDCWD, name); return REAL(rmdir)(name); }
int unlink(const char *name) { CUT("remove", AT_FDCWD, name); return REAL(unlink)(name); }
int unlinkat(int folder, const char *name, int flags) { CUT("remove", folder, name); return REAL(unlinkat)(folder, name, flags); }

int rename(const char *from, const char *to) { MOVE(AT_FDCWD, from, AT_FDCWD, to); return REAL(rename)(from, to); }
int renameat(int old, const char *from, int folder, const char *to) {
    MOVE(old, from, folder, to);
    return REAL(renameat)(old, from, folder, to);
}
int renameat2(int old, const char *from, int folder, const char *to, unsigned flags) {
    MOVE(old, from, folder, to);
    return REAL(renameat2)(old, from, folder, to, flags);
}

static int opened(int folder, const char *name, int flags, mode_t mode) {
    if (flags & (O_CREAT | O_TRUNC)) CUT("write", folder, name);
    return syscall(SYS_openat, folder, name, flags, mode);
}

#define MODE(flags, mode) mode_t mode = 0; if (flags & O_CREAT) { va_list rest; va_start(rest, flags); mode = va_arg(rest, mode_t); va_end(rest); }
int open(const char *name, int flags, ...) { MODE(flags, mode) return opened(AT_FDCWD, name, flags, mode); }
int open64(const char *name, int flags, ...) { MODE(flags, mode) return opened(AT_FDCWD, name, flags, mode); }
int openat(int folder, const char *name, int flags, ...) { MODE(flags, mode) return opened(folder, name, flags, mode); }
int openat64(int folder, const char *name, int flags, ...) { MODE(flags, mode) return opened(folder, name, flags, mode); }
