#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <vector>

namespace bliss::training {

/// The checkpoints of a training: checkpoint.safetensors, and the ones before it as checkpoint-STEP.safetensors.
class CheckpointFolder {
public:
    explicit CheckpointFolder(std::filesystem::path folder) : folder_{std::move(folder)} {}

    [[nodiscard]] std::filesystem::path newest() const { return folder_ / "checkpoint.safetensors"; }
    [[nodiscard]] bool empty() const { return all().empty(); }

    /// The newest first.
    [[nodiscard]] std::vector<std::filesystem::path> all() const;

    /// Keeps the present newest one under the name of its step, lets `save` write a new one over it, and removes all but `keep`. A kill at
    /// any moment leaves the newest whole. @param step of the present one @throws IoError, what `save` throws
    void replace(std::int64_t step, std::int64_t keep, const std::function<void(const std::filesystem::path&)>& save) const;

    /// @throws IoError
    void remove_all() const;

private:
    std::filesystem::path folder_;
};

}  // namespace bliss::training
