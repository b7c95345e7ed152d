#pragma once

#include <chrono>
#include <filesystem>

namespace bliss {

/// Keeps other processes that ask, too, out of a folder; its end, however it comes, lets go. Where the file system knows no such locks
/// nothing is kept out.
class FolderLock {
public:
    /// Waits for a while: a process that was just killed may still hold it. @throws IoError where another one is at work in the folder
    explicit FolderLock(const std::filesystem::path& folder, std::chrono::milliseconds patience = std::chrono::seconds{20});
    ~FolderLock();
    FolderLock(const FolderLock&) = delete;
    FolderLock& operator=(const FolderLock&) = delete;

private:
    int descriptor_;
};

}  // namespace bliss
