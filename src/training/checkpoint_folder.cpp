#include "checkpoint_folder.hpp"

#include "bliss/core/error.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <string>
#include <string_view>
#include <utility>

namespace bliss::training {
namespace {

namespace fs = std::filesystem;

constexpr std::string_view k_prefix = "checkpoint-", k_suffix = ".safetensors";

/// The step in the name of an older checkpoint, -1 for another file's.
std::int64_t step_of(const std::string& name) {
    if (!name.starts_with(k_prefix) || !name.ends_with(k_suffix)) return -1;
    const char* const begin = name.data() + k_prefix.size();
    const char* const end = name.data() + name.size() - k_suffix.size();
    std::int64_t step = -1;
    const auto [last, status] = std::from_chars(begin, end, step);
    return status == std::errc{} && last == end ? step : -1;
}

void remove_file(const fs::path& path) {
    std::error_code status;
    if (!fs::remove(path, status) && status) {
        throw IoError(fmt::format("{}: cannot be removed ({}); check permissions", path.string(), status.message()));
    }
}

}  // namespace

std::vector<fs::path> CheckpointFolder::all() const {
    std::vector<std::pair<std::int64_t, fs::path>> older;
    std::error_code status;
    for (fs::directory_iterator file{folder_, status}, end; !status && file != end; file.increment(status)) {
        const std::int64_t step = step_of(file->path().filename().string());
        if (step >= 0) older.emplace_back(step, file->path());
    }
    std::ranges::sort(older, std::ranges::greater{});
    std::vector<fs::path> out;
    if (fs::exists(newest(), status)) out.push_back(newest());
    for (auto& [step, path] : older) out.push_back(std::move(path));
    return out;
}

void CheckpointFolder::replace(std::int64_t step, std::int64_t keep, const std::function<void(const fs::path&)>& save) const {
    std::error_code status;
    if (keep > 1 && fs::exists(newest(), status)) {
        const fs::path kept = folder_ / fmt::format("{}{}{}", k_prefix, step, k_suffix), partial = folder_ / "checkpoint.before.partial";
        fs::remove(partial, status);
        fs::create_hard_link(newest(), partial, status);
        if (status) fs::copy_file(newest(), partial, status);  // not every file system has links
        if (!status) fs::rename(partial, kept, status);
        if (status)
            throw IoError(fmt::format("{}: cannot be made ({}); check permissions and free space", kept.string(), status.message()));
    }
    save(newest());
    const std::vector<fs::path> paths = all();
    for (std::size_t k = static_cast<std::size_t>(keep); k < paths.size(); ++k) remove_file(paths[k]);
}

fs::path CheckpointFolder::make_newest(const fs::path& checkpoint) const {
    if (checkpoint == newest()) return checkpoint;
    for (const fs::path& path : all()) {
        if (path == checkpoint) break;
        if (path != newest()) remove_file(path);
    }
    std::error_code status;
    fs::rename(checkpoint, newest(), status);
    if (status) throw IoError(fmt::format("{}: cannot be replaced ({}); check permissions", newest().string(), status.message()));
    return newest();
}

void CheckpointFolder::remove_all() const {
    for (const fs::path& path : all()) remove_file(path);
    remove_file(best());
}

}  // namespace bliss::training
