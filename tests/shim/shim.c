/* Stands between a program and its file system (LD_PRELOAD): counts the calls that concern one directory, and at the
 * n-th of them kills the program, tears a write in two or returns an error. Steered by the environment:
 *
 *   SHIM_DIR    the directory
 *   SHIM_LOG    a file that gets one line for every call that was met: its number, the call, the file
 *   SHIM_CALLS  which calls are counted: names between commas, ",open,pwrite,"; all when missing
 *   SHIM_AT     number of the call that is hit; 0: none, and every counted call is logged
 *   SHIM_DO     kill | kill-after | tear | short | an error number
 *   SHIM_TIMES  how many counted calls in a row are hit, from that one on; 1 when missing
 *   SHIM_RECORD a file that gets every change of the directory with its data, and what is said on stdout, in order
 */
#define _GNU_SOURCE
#include <dirent.h>
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <unistd.h>

#define FILES 1024

enum act { PASS, FAIL, SHORT, TEAR, KILL, KILL_AFTER };

static const char *dir, *calls;
static size_t dir_length;
static long at, times = 1, hit_count;
static int act_error, log_file = -1, record_file = -1;
static enum act act;
static char *paths[FILES];
static pthread_mutex_t counting = PTHREAD_MUTEX_INITIALIZER;
/* While changes are recorded they happen one at a time, or their order would be a guess. */
static pthread_mutex_t recording = PTHREAD_MUTEX_INITIALIZER;

#define REAL(name)                       \
    static __typeof__(name) *real;       \
    if (!real)                           \
    real = (__typeof__(name) *)dlsym(RTLD_NEXT, #name)

static int raw_open(const char *name) {
    const char *path = getenv(name);
    return path ? (int)syscall(SYS_openat, AT_FDCWD, path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600) : -1;
}

static void raw_write(int file, const void *data, size_t length) {
    const char *from = data;
    while (length > 0) {
        long written = syscall(SYS_write, file, from, length);
        if (written <= 0)
            return;
        from += written;
        length -= (size_t)written;
    }
}

__attribute__((constructor)) static void set_up(void) {
    const char *number = getenv("SHIM_AT"), *what = getenv("SHIM_DO");
    at = number ? atol(number) : 0;
    calls = getenv("SHIM_CALLS");
    if (getenv("SHIM_TIMES"))
        times = atol(getenv("SHIM_TIMES"));
    log_file = raw_open("SHIM_LOG");
    record_file = raw_open("SHIM_RECORD");
    if (what && !strcmp(what, "kill"))
        act = KILL;
    else if (what && !strcmp(what, "kill-after"))
        act = KILL_AFTER;
    else if (what && !strcmp(what, "tear"))
        act = TEAR;
    else if (what && !strcmp(what, "short"))
        act = SHORT;
    else if (what && (act_error = atoi(what)))
        act = FAIL;
    dir = getenv("SHIM_DIR");
    dir_length = dir ? strlen(dir) : 0;
}

static void die(void) {
    syscall(SYS_kill, getpid(), SIGKILL);
    for (;;)
        pause();
}

/* The directory and what is in it. */
static int concerns(const char *path) {
    return dir && path && !strncmp(path, dir, dir_length) && (path[dir_length] == '/' || !path[dir_length]);
}

static const char *path_of(int file) {
    return file >= 0 && file < FILES ? paths[file] : NULL;
}

static void remember(int file, const char *path) {
    if (file < 0 || file >= FILES)
        return;
    free(paths[file]);
    paths[file] = path ? strdup(path) : NULL;
}

static int is_counted(const char *call) {
    if (!calls)
        return 1;
    char name[32];
    snprintf(name, sizeof name, ",%s,", call);
    return strstr(calls, name) != NULL;
}

/* Every call that concerns the directory comes here first. */
static enum act meet(const char *call, const char *path) {
    if (!concerns(path) || !is_counted(call))
        return PASS;
    pthread_mutex_lock(&counting);
    long number = ++hit_count;
    int hit = at > 0 && number >= at && number - at < times;
    if (log_file >= 0 && (at == 0 || number == at)) {
        char line[PATH_MAX + 64];
        int length = snprintf(line, sizeof line, "%ld %s .%s\n", number, call, path + dir_length);
        raw_write(log_file, line, (size_t)length);
    }
    pthread_mutex_unlock(&counting);
    if (!hit)
        return PASS;
    if (act == KILL || (act == TEAR && strcmp(call, "write")))
        die();
    if (act == FAIL)
        errno = act_error;
    return act;
}

/* Of the acts only failing applies to most calls; the program may also die when the call is done. */
#define SIMPLE(call, path, failure, type, run) \
    do {                                       \
        enum act what_ = meet(call, path);     \
        if (what_ == FAIL)                     \
            return failure;                    \
        type result_ = (run);                  \
        if (what_ == KILL_AFTER)               \
            die();                             \
        return result_;                        \
    } while (0)

static void record_begin(void) {
    if (record_file >= 0)
        pthread_mutex_lock(&recording);
}

/* One line, and the data behind it. Ends what record_begin began. */
static void record_end(int done, const char *path, const void *data, size_t length, const char *format, ...) {
    if (record_file < 0)
        return;
    int saved = errno;
    if (done && (!path || concerns(path))) {
        char line[2 * PATH_MAX + 64];
        va_list list;
        va_start(list, format);
        int head = vsnprintf(line, sizeof line, format, list);
        va_end(list);
        raw_write(record_file, line, (size_t)head);
        raw_write(record_file, data, length);
    }
    pthread_mutex_unlock(&recording);
    errno = saved;
}

static int opened(int file, const char *path, int flags, int was_there) {
    if (file >= 0)
        remember(file, concerns(path) ? path : NULL);
    int created = file >= 0 && (flags & O_CREAT) && !was_there;
    int emptied = file >= 0 && (flags & O_TRUNC) && was_there;
    record_end(created || emptied, path, NULL, 0, created ? "create %s\n" : "truncate 0 %s\n", path);
    return file;
}

#define OPEN(name)                                                            \
    int name(const char *path, int flags, ...) {                              \
        REAL(name);                                                           \
        va_list list;                                                         \
        va_start(list, flags);                                                \
        mode_t mode = va_arg(list, mode_t);                                   \
        va_end(list);                                                         \
        enum act what = meet(flags & O_CREAT ? "create" : "open", path);      \
        if (what == FAIL)                                                     \
            return -1;                                                        \
        record_begin();                                                       \
        int there = syscall(SYS_faccessat, AT_FDCWD, path, F_OK) == 0;        \
        int file = opened(real(path, flags, mode), path, flags, there);       \
        if (what == KILL_AFTER)                                               \
            die();                                                            \
        return file;                                                          \
    }
OPEN(open)
OPEN(open64)

int openat64(int at_dir, const char *path, int flags, ...) {
    REAL(openat64);
    va_list list;
    va_start(list, flags);
    mode_t mode = va_arg(list, mode_t);
    va_end(list);
    enum act what = meet(flags & O_CREAT ? "create" : "open", path);
    if (what == FAIL)
        return -1;
    record_begin();
    int there = syscall(SYS_faccessat, at_dir, path, F_OK) == 0;
    int file = opened(real(at_dir, path, flags, mode), path, flags, there);
    if (what == KILL_AFTER)
        die();
    return file;
}

int close(int file) {
    REAL(close);
    enum act what = meet("close", path_of(file));
    int saved = errno;
    remember(file, NULL);
    int result = real(file);
    if (what == KILL_AFTER)
        die();
    if (what != FAIL)
        return result;
    errno = saved; /* as the system does it: the file is closed all the same */
    return -1;
}

static ssize_t shortened(ssize_t result, enum act what) {
    if (what == TEAR || what == KILL_AFTER)
        die();
    return result;
}

/* Never nothing, which would mean the end of the file. */
static size_t part(size_t length, enum act what) {
    return what == SHORT || what == TEAR ? (length + 1) / 2 : length;
}

#define READ_AT(name)                                            \
    ssize_t name(int file, void *to, size_t length, off64_t offset) { \
        REAL(name);                                              \
        enum act what = meet("read", path_of(file));             \
        if (what == FAIL)                                        \
            return -1;                                           \
        return shortened(real(file, to, part(length, what), offset), what); \
    }
READ_AT(pread)
READ_AT(pread64)

ssize_t read(int file, void *to, size_t length) {
    REAL(read);
    enum act what = meet("read", path_of(file));
    if (what == FAIL)
        return -1;
    return shortened(real(file, to, part(length, what)), what);
}

#define WRITE_AT(name)                                                              \
    ssize_t name(int file, const void *from, size_t length, off64_t offset) {       \
        REAL(name);                                                                 \
        const char *path = path_of(file);                                           \
        enum act what = meet("write", path);                                        \
        if (what == FAIL)                                                           \
            return -1;                                                              \
        record_begin();                                                             \
        ssize_t written = real(file, from, part(length, what), offset);             \
        record_end(written > 0 && path, path, from, (size_t)written, "write %zd %lld %s\n", written, \
                   (long long)offset, path);                                        \
        return shortened(written, what);                                            \
    }
WRITE_AT(pwrite)
WRITE_AT(pwrite64)

ssize_t write(int file, const void *from, size_t length) {
    REAL(write);
    const char *path = path_of(file);
    enum act what = meet("write", path);
    if (what == FAIL)
        return -1;
    record_begin();
    off64_t offset = path ? lseek64(file, 0, SEEK_CUR) : 0;
    ssize_t written = real(file, from, part(length, what));
    if (file == STDOUT_FILENO)
        record_end(written > 0, NULL, from, (size_t)written, "say %zd\n", written);
    else
        record_end(written > 0 && path, path, from, (size_t)written, "write %zd %lld %s\n", written,
                   (long long)offset, path);
    return shortened(written, what);
}

#define SYNC(name)                                                    \
    int name(int file) {                                              \
        REAL(name);                                                   \
        const char *path = path_of(file);                             \
        enum act what = meet("sync", path);                           \
        if (what == FAIL)                                             \
            return -1;                                                \
        record_begin();                                               \
        int result = real(file);                                      \
        record_end(result == 0 && path, path, NULL, 0, "sync %s\n", path); \
        if (what == KILL_AFTER)                                       \
            die();                                                    \
        return result;                                                \
    }
SYNC(fsync)
SYNC(fdatasync)

#define TRUNCATE(name)                                                \
    int name(int file, off64_t length) {                              \
        REAL(name);                                                   \
        const char *path = path_of(file);                             \
        enum act what = meet("truncate", path);                       \
        if (what == FAIL)                                             \
            return -1;                                                \
        record_begin();                                               \
        int result = real(file, length);                              \
        record_end(result == 0 && path, path, NULL, 0, "truncate %lld %s\n", (long long)length, path); \
        if (what == KILL_AFTER)                                       \
            die();                                                    \
        return result;                                                \
    }
TRUNCATE(ftruncate)
TRUNCATE(ftruncate64)

int unlink(const char *path) {
    REAL(unlink);
    enum act what = meet("unlink", path);
    if (what == FAIL)
        return -1;
    record_begin();
    int result = real(path);
    record_end(result == 0, path, NULL, 0, "unlink %s\n", path);
    if (what == KILL_AFTER)
        die();
    return result;
}

int rename(const char *from, const char *to) {
    REAL(rename);
    enum act what = meet("rename", from);
    if (what == FAIL)
        return -1;
    record_begin();
    int result = real(from, to);
    record_end(result == 0, from, NULL, 0, "rename %s\n%s\n", from, to);
    if (what == KILL_AFTER)
        die();
    return result;
}

int linkat(int from_dir, const char *from, int to_dir, const char *to, int flags) {
    REAL(linkat);
    enum act what = meet("link", from);
    if (what == FAIL)
        return -1;
    record_begin();
    int result = real(from_dir, from, to_dir, to, flags);
    record_end(result == 0, from, NULL, 0, "link %s\n%s\n", from, to);
    if (what == KILL_AFTER)
        die();
    return result;
}

int mkdir(const char *path, mode_t mode) {
    REAL(mkdir);
    enum act what = meet("mkdir", path);
    if (what == FAIL)
        return -1;
    record_begin();
    int result = real(path, mode);
    record_end(result == 0, path, NULL, 0, "mkdir %s\n", path);
    if (what == KILL_AFTER)
        die();
    return result;
}

#define FCNTL(name)                                                              \
    int name(int file, int command, ...) {                                       \
        REAL(name);                                                              \
        va_list list;                                                            \
        va_start(list, command);                                                 \
        void *argument = va_arg(list, void *);                                   \
        va_end(list);                                                            \
        int locks = command == F_SETLK || command == F_SETLKW || command == F_GETLK; \
        enum act what = locks ? meet("lock", path_of(file)) : PASS;              \
        if (what == FAIL)                                                        \
            return -1;                                                           \
        int result = real(file, command, argument);                              \
        if ((command == F_DUPFD || command == F_DUPFD_CLOEXEC) && result >= 0)   \
            remember(result, path_of(file));                                     \
        if (what == KILL_AFTER)                                                  \
            die();                                                               \
        return result;                                                           \
    }
FCNTL(fcntl)
FCNTL(fcntl64)

void *mmap64(void *address, size_t length, int protection, int flags, int file, off64_t offset) {
    REAL(mmap64);
    SIMPLE("mmap", path_of(file), MAP_FAILED, void *, real(address, length, protection, flags, file, offset));
}

#define STAT(name)                                             \
    int name(const char *path, struct stat64 *to) {            \
        REAL(name);                                            \
        SIMPLE("stat", path, -1, int, real(path, to));         \
    }
STAT(stat64)
STAT(lstat64)

int fstat64(int file, struct stat64 *to) {
    REAL(fstat64);
    SIMPLE("stat", path_of(file), -1, int, real(file, to));
}

/* An empty path means the file of the descriptor; without a path it is asked whether this call exists at all. */
int statx(int at_dir, const char *path, int flags, unsigned mask, struct statx *to) {
    REAL(statx);
    const char *whole = !path || *path ? path : path_of(at_dir);
    SIMPLE("stat", whole, -1, int, real(at_dir, path, flags, mask, to));
}

int access(const char *path, int mode) {
    REAL(access);
    SIMPLE("stat", path, -1, int, real(path, mode));
}

int chmod(const char *path, mode_t mode) {
    REAL(chmod);
    SIMPLE("chmod", path, -1, int, real(path, mode));
}

int fchmod(int file, mode_t mode) {
    REAL(fchmod);
    SIMPLE("chmod", path_of(file), -1, int, real(file, mode));
}

int fchown(int file, uid_t user, gid_t group) {
    REAL(fchown);
    SIMPLE("chmod", path_of(file), -1, int, real(file, user, group));
}

ssize_t readlink(const char *path, char *to, size_t length) {
    REAL(readlink);
    SIMPLE("stat", path, -1, ssize_t, real(path, to, length));
}

char *realpath(const char *path, char *to) {
    REAL(realpath);
    SIMPLE("stat", path, NULL, char *, real(path, to));
}

DIR *opendir(const char *path) {
    REAL(opendir);
    SIMPLE("open", path, NULL, DIR *, real(path));
}
