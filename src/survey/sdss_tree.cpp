#include "bliss/survey/sdss_tree.hpp"

#include "bliss/core/error.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <optional>
#include <string_view>
#include <system_error>

namespace bliss::survey {
namespace {

namespace fs = std::filesystem;

constexpr std::string_view k_suffixes[] = {"", ".bz2", ".gz"};

/// A number that is all of a text.
std::optional<std::int32_t> number(std::string_view text) {
    std::int32_t value = 0;
    const auto [end, status] = std::from_chars(text.data(), text.data() + text.size(), value);
    return status == std::errc{} && end == text.data() + text.size() ? std::optional{value} : std::nullopt;
}

/// The field of "frame-B-RRRRRR-C-FFFF.fits", compressed or not, in this band.
std::optional<FieldId> field_of(std::string_view name, const std::string& band) {
    const std::string begin = "frame-" + band + "-";
    constexpr std::string_view k_type = ".fits";
    const std::size_t end = name.rfind(k_type);
    if (!name.starts_with(begin) || end == std::string_view::npos) return {};
    if (std::ranges::find(k_suffixes, name.substr(end + k_type.size())) == std::end(k_suffixes)) return {};
    std::string_view id = name.substr(begin.size(), end - begin.size());
    FieldId out;
    for (std::int32_t FieldId::* part : {&FieldId::run, &FieldId::camcol, &FieldId::field}) {
        const std::size_t dash = part == &FieldId::field ? id.size() : id.find('-');
        if (dash == std::string_view::npos) return {};
        const auto value = number(id.substr(0, dash));
        if (!value) return {};
        out.*part = *value;
        id.remove_prefix(std::min(dash + 1, id.size()));
    }
    return out;
}

/// Calls `visit(name, entry)` for what is in a folder; nothing where there is none. @throws DataError
template <class Visit>
void for_each_in(const fs::path& folder, const Visit& visit) {
    std::error_code status;
    for (fs::directory_iterator entry{folder, status}, end; !status && entry != end; entry.increment(status)) {
        visit(entry->path().filename().string(), *entry);
    }
    if (status && status != std::errc::no_such_file_or_directory && status != std::errc::not_a_directory) {
        throw DataError(fmt::format("{}: cannot be listed ({}); check the folder and its permissions", folder.string(), status.message()));
    }
}

}  // namespace

fs::path SdssTree::find(const FieldId& id, const fs::path& archive, const std::string& name) const {
    const std::string run = std::to_string(id.run), camcol = std::to_string(id.camcol);
    const fs::path folders[] = {folder_, folder_ / run / camcol, folder_ / run, folder_ / archive};
    std::error_code status;
    for (const fs::path& folder : folders) {
        for (const std::string_view suffix : k_suffixes) {
            fs::path path = folder / name;
            path += suffix;
            if (fs::exists(path, status)) return path;
        }
    }
    return folders[0] / name;
}

fs::path SdssTree::frame(const FieldId& id, const std::string& band) const {
    return find(id, fs::path{"photoObj"} / "frames" / rerun_ / std::to_string(id.run) / std::to_string(id.camcol),
                fmt::format("frame-{}-{:06}-{}-{:04}.fits", band, id.run, id.camcol, id.field));
}

fs::path SdssTree::psf(const FieldId& id) const {
    return find(id, fs::path{"photo"} / "redux" / rerun_ / std::to_string(id.run) / "objcs" / std::to_string(id.camcol),
                fmt::format("psField-{:06}-{}-{:04}.fit", id.run, id.camcol, id.field));
}

fs::path SdssTree::detector(const FieldId& id) const {
    return find(id, fs::path{"photoObj"} / rerun_ / std::to_string(id.run), fmt::format("photoField-{:06}-{}.fits", id.run, id.camcol));
}

fs::path SdssTree::mask(const FieldId& id, const std::string& band) const {
    return find(id, fs::path{"photo"} / "redux" / rerun_ / std::to_string(id.run) / "objcs" / std::to_string(id.camcol),
                fmt::format("fpM-{:06}-{}{}-{:04}.fit", id.run, band, id.camcol, id.field));
}

std::vector<FieldId> SdssTree::fields(const std::string& band, std::span<const FieldPattern> patterns) const {
    std::vector<FieldId> found;
    const auto wanted = [&](const FieldId& id) { return std::ranges::any_of(patterns, [&](const auto& p) { return p.matches(id); }); };
    const auto wanted_run = [&](std::int32_t run) {
        return std::ranges::any_of(patterns, [&](const auto& p) { return run >= p.low.run && run <= p.high.run; });
    };
    const auto take = [&](const std::string& name) {
        if (const auto id = field_of(name, band); id && wanted(*id)) found.push_back(*id);
    };
    for (const fs::path& base : {folder_, folder_ / "photoObj" / "frames" / rerun_}) {
        for_each_in(base, [&](const std::string& name, const fs::directory_entry& entry) {
            take(name);
            const auto run = number(name);
            if (!run || !wanted_run(*run)) return;
            for_each_in(entry.path(), [&](const std::string& in_run, const fs::directory_entry& camcol) {
                take(in_run);
                if (number(in_run)) for_each_in(camcol.path(), [&](const std::string& in_camcol, const auto&) { take(in_camcol); });
            });
        });
    }
    std::ranges::sort(found);
    const auto doubled = std::ranges::unique(found);
    found.erase(doubled.begin(), doubled.end());
    return found;
}

}  // namespace bliss::survey
