#pragma once

#include <chrono>
#include <filesystem>

namespace bliss {

/// Keeps other processes that ask, too, out of a folder, by a lock on FOLDER/lock; its end, however it comes, lets go. A normal end removes
/// the file, and the folder where nothing else is in it. Warns where the file system has no locks: then nobody is kept out.
class FolderLock {
public:
    /// Makes the folder where it is not there. @param patience how long it waits for another one: a process that was just killed may hold
    /// its lock a moment longer, on network file systems a minute or two
    /// @throws IoError where another one is at work in the folder, or the file cannot be made
    FolderLock(const std::filesystem::path& folder, std::chrono::milliseconds patience);
    ~FolderLock();
    FolderLock(const FolderLock&) = delete;
    FolderLock& operator=(const FolderLock&) = delete;

private:
    std::filesystem::path path_;
    int descriptor_ = -1;
};

}  // namespace bliss
