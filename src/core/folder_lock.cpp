#include "bliss/core/folder_lock.hpp"

#include "bliss/core/atomic_file.hpp"
#include "bliss/core/error.hpp"
#include "bliss/core/io_advice.hpp"

#include <fcntl.h>
#include <fmt/format.h>
#include <spdlog/spdlog.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <system_error>
#include <thread>

namespace bliss {
namespace {

/// Whether a path still names the file that is open: who had the lock before may have removed it.
bool names(const std::filesystem::path& path, int descriptor) {
    struct stat open{}, named{};
    return ::fstat(descriptor, &open) == 0 && ::stat(path.c_str(), &named) == 0 && open.st_ino == named.st_ino &&
           open.st_dev == named.st_dev;
}

}  // namespace

FolderLock::FolderLock(const std::filesystem::path& folder, std::chrono::milliseconds patience) : path_{folder / "lock"} {
    create_output_folder(folder);
    constexpr std::chrono::milliseconds k_pause{50};
    const auto end = std::chrono::steady_clock::now() + patience;
    for (bool said = false;;) {
        // Open for writing: network file systems lock byte ranges, which takes it.
        descriptor_ = ::open(path_.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0644);
        if (descriptor_ < 0) {
            const int reason = errno;
            throw IoError(
                fmt::format("{}: cannot be made: {}{}", path_.string(), std::generic_category().message(reason), io_advice(reason)));
        }
        const bool locked = ::flock(descriptor_, LOCK_EX | LOCK_NB) == 0;
        if (!locked && errno != EWOULDBLOCK) {
            spdlog::warn("{}: no lock is to be had here ({}); see that no two runs have one output folder", path_.string(),
                         std::generic_category().message(errno));
            return;
        }
        if (locked && names(path_, descriptor_)) return;
        ::close(descriptor_);
        if (locked) continue;
        if (std::chrono::steady_clock::now() > end) {
            throw IoError(
                fmt::format("{}: another run is at work in this folder; wait for its end, or give another --output", folder.string()));
        }
        if (!said) spdlog::warn("{}: another run is at work in this folder; waiting for its end", folder.string());
        said = true;
        std::this_thread::sleep_for(k_pause);
    }
}

FolderLock::~FolderLock() {
    std::error_code ignored;
    std::filesystem::remove(path_, ignored);
    ::close(descriptor_);
    std::filesystem::remove(path_.parent_path(), ignored);
}

}  // namespace bliss
