#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <vector>

namespace bliss::training {

/// The checkpoints of a training: checkpoint.safetensors, the ones before it as checkpoint-STEP.safetensors, and best.safetensors.
class CheckpointFolder {
public:
    explicit CheckpointFolder(std::filesystem::path folder) : folder_{std::move(folder)} {}

    [[nodiscard]] std::filesystem::path newest() const { return folder_ / "checkpoint.safetensors"; }
    /// That of the best validation so far.
    [[nodiscard]] std::filesystem::path best() const { return folder_ / "best.safetensors"; }

    /// All but the best, the newest first.
    [[nodiscard]] std::vector<std::filesystem::path> all() const;

    /// Keeps the present newest one under the name of its step, lets `save` write a new one over it, and removes all but `keep`. A kill at
    /// any moment leaves the newest whole. @param step of the present one @throws IoError, what `save` throws
    void replace(std::int64_t step, std::int64_t keep, const std::function<void(const std::filesystem::path&)>& save) const;

    /// Gives one of them the name of the newest; those after it, which are damaged, are removed. @return its new path @throws IoError
    [[nodiscard]] std::filesystem::path make_newest(const std::filesystem::path& checkpoint) const;

    /// The best, too. @throws IoError
    void remove_all() const;

private:
    std::filesystem::path folder_;
};

}  // namespace bliss::training
