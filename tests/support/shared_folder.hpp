#pragma once

#include "bliss/comm/communicator.hpp"
#include "support/temporary_folder.hpp"

#include <sys/mount.h>

#include <memory>

namespace bliss::test {

/// A new folder that all ranks of a communicator know, removed when all are done with it. @collective
class SharedFolder {
public:
    explicit SharedFolder(const comm::Communicator& comm) : comm_{comm.duplicate()} {
        if (comm_.rank() == 0) owned_ = std::make_unique<TemporaryFolder>();
        std::string name = owned_ ? owned_->path().string() : "";
        comm_.broadcast(name);
        path_ = name;
    }
    SharedFolder(const SharedFolder&) = delete;
    SharedFolder& operator=(const SharedFolder&) = delete;
    ~SharedFolder() { comm_.barrier(); }

    [[nodiscard]] std::filesystem::path operator/(const std::string& name) const { return path_ / name; }
    [[nodiscard]] const std::filesystem::path& path() const { return path_; }

private:
    comm::Communicator comm_;
    std::unique_ptr<TemporaryFolder> owned_;
    std::filesystem::path path_;
};

/// A tiny disk mounted on a folder, where this process may mount (root): `mounted` says whether. @collective
class TinyDisk {
public:
    TinyDisk(const comm::Communicator& comm, const std::filesystem::path& folder, const std::string& options)
        : comm_{comm.duplicate()}, folder_{folder} {
        int done = 0;
        if (comm_.rank() == 0) done = mount("tmpfs", folder_.c_str(), "tmpfs", 0, options.c_str()) == 0;
        comm_.broadcast(done);
        mounted_ = done == 1;
    }
    TinyDisk(const TinyDisk&) = delete;
    TinyDisk& operator=(const TinyDisk&) = delete;
    ~TinyDisk() {
        comm_.barrier();
        if (mounted_ && comm_.rank() == 0) umount2(folder_.c_str(), MNT_DETACH);
        comm_.barrier();
    }

    [[nodiscard]] bool mounted() const { return mounted_; }

    /// Makes it read-only. @collective
    void protect() {
        comm_.barrier();
        if (comm_.rank() == 0) mount("tmpfs", folder_.c_str(), "tmpfs", MS_REMOUNT | MS_RDONLY, nullptr);
        comm_.barrier();
    }

private:
    comm::Communicator comm_;
    std::filesystem::path folder_;
    bool mounted_ = false;
};

}  // namespace bliss::test
