#include "bliss/core/folder_lock.hpp"

#include "bliss/core/error.hpp"

#include <fcntl.h>
#include <fmt/format.h>
#include <spdlog/spdlog.h>
#include <sys/file.h>
#include <unistd.h>

#include <cerrno>
#include <thread>

namespace bliss {

FolderLock::FolderLock(const std::filesystem::path& folder, std::chrono::milliseconds patience)
    : descriptor_{::open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC)} {
    if (descriptor_ < 0) return;  // who writes there will say why
    constexpr std::chrono::milliseconds k_pause{50};
    const auto end = std::chrono::steady_clock::now() + patience;
    for (bool said = false; ::flock(descriptor_, LOCK_EX | LOCK_NB) != 0 && errno == EWOULDBLOCK; said = true) {
        if (std::chrono::steady_clock::now() > end) {
            ::close(descriptor_);
            throw IoError(
                fmt::format("{}: another run is at work in this folder; wait for its end, or give another --output", folder.string()));
        }
        if (!said) spdlog::warn("{}: another run is at work in this folder; waiting for its end", folder.string());
        std::this_thread::sleep_for(k_pause);
    }
}

FolderLock::~FolderLock() {
    if (descriptor_ >= 0) ::close(descriptor_);
}

}  // namespace bliss
