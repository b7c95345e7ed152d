#include "bliss/inference/fields.hpp"

#include "bliss/core/error.hpp"
#include "bliss/core/hash.hpp"
#include "bliss/survey/generic.hpp"
#include "bliss/survey/sdss.hpp"
#include "bliss/survey/sdss_tree.hpp"

#include <fmt/format.h>
#include <glob.h>

#include <algorithm>
#include <fstream>

namespace bliss::inference {

namespace {

namespace fs = std::filesystem;

/// A name of fields, and where it was given.
struct Name {
    FieldPattern pattern;
    std::string text;
    std::string place;
};

Name parse(const std::string& text, const std::string& place) {
    try {
        return {parse_field_pattern(text), text, place};
    } catch (const ConfigError& error) {
        throw ConfigError(fmt::format("{}: {}", place, error.what()));
    }
}

/// @throws ConfigError for a field that is named by itself twice
void check_named_once(const std::vector<Name>& names) {
    std::vector<const Name*> single;
    for (const Name& name : names) {
        if (name.pattern.single()) single.push_back(&name);
    }
    const auto id = [](const Name* name) { return name->pattern.low; };
    std::ranges::stable_sort(single, {}, id);
    const auto twice = std::ranges::adjacent_find(single, {}, id);
    if (twice == single.end()) return;
    throw ConfigError(fmt::format("{} names {} twice (first: {})", (*(twice + 1))->place, (*twice)->text, (*twice)->place));
}

/// The names of survey.fields and of survey.list.
std::vector<Name> names_of(const SurveyConfig& config, const fs::path& config_folder) {
    std::vector<Name> names;
    for (const std::string& text : config.fields) names.push_back(parse(text, "survey.fields"));
    if (config.list.empty()) {
        check_named_once(names);
        return names;
    }
    const fs::path path = resolve(config_folder, config.list);
    std::ifstream file{path};
    if (!file) throw ConfigError(fmt::format("survey.list: {}: no such file, or not readable", path.string()));
    std::int64_t number = 0;
    for (std::string line; std::getline(file, line);) {
        ++number;
        line.resize(std::min(line.find('#'), line.size()));
        const std::size_t begin = line.find_first_not_of(" \t\r"), end = line.find_last_not_of(" \t\r");
        if (begin == std::string::npos) continue;
        names.push_back(parse(line.substr(begin, end - begin + 1), fmt::format("{}:{}", path.string(), number)));
    }
    if (file.bad()) throw DataError(fmt::format("{}: cannot be read to its end; check the disk", path.string()));
    check_named_once(names);
    return names;
}

FieldList list_sdss(const SurveyConfig& config, const fs::path& config_folder) {
    std::vector<FieldId> ids;
    std::vector<Name> several;
    for (Name& name : names_of(config, config_folder)) {
        if (name.pattern.single()) {
            ids.push_back(name.pattern.low);
        } else {
            several.push_back(std::move(name));
        }
    }
    std::ranges::sort(ids);
    const FieldSource common{{}, config.band, resolve(config_folder, config.folder)};
    if (!several.empty()) {
        std::vector<FieldPattern> patterns;
        for (const Name& name : several) patterns.push_back(name.pattern);
        const std::vector<FieldId> found = survey::SdssTree{common.path, config.rerun}.fields(config.band, patterns);
        for (const Name& name : several) {
            if (std::ranges::none_of(found, [&](const FieldId& id) { return name.pattern.matches(id); })) {
                throw ConfigError(fmt::format("{}: {} stands for no frame of band {} in {}; check the folder, the band and the name",
                                              name.place, name.text, config.band, common.path.string()));
            }
        }
        ids.insert(ids.end(), found.begin(), found.end());
        std::ranges::sort(ids);
        const auto again = std::ranges::unique(ids);
        ids.erase(again.begin(), again.end());
    }
    return {std::move(ids), common};
}

/// Files that a path with wildcards stands for, sorted; the path itself where it has none. @throws ConfigError
std::vector<std::string> expanded(const fs::path& path) {
    if (path.string().find_first_of("*?[") == std::string::npos) return {path.string()};
    glob_t found{};
    const int status = ::glob(path.c_str(), 0, nullptr, &found);
    std::vector<std::string> out;
    for (std::size_t k = 0; status == 0 && k < found.gl_pathc; ++k) out.emplace_back(found.gl_pathv[k]);
    ::globfree(&found);
    if (out.empty()) throw ConfigError(fmt::format("survey.images: {} stands for no file", path.string()));
    return out;
}

FieldList list_images(const SurveyConfig& config, const fs::path& config_folder) {
    std::vector<std::string> all;
    for (const std::string& image : config.images) {
        for (std::string& path : expanded(resolve(config_folder, image))) all.push_back(std::move(path));
    }
    FieldSource common;
    if (!config.common.empty()) common.settings = resolve(config_folder, config.common);
    const std::vector<Name> names = names_of(config, config_folder);
    std::vector<FieldId> ids;
    std::vector<std::string> paths;
    std::vector<char> used(names.size(), 0);
    for (std::size_t k = 0; k < all.size(); ++k) {
        const FieldId id{0, 0, static_cast<std::int32_t>(k)};
        bool wanted = names.empty();
        for (std::size_t n = 0; n < names.size(); ++n) {
            if (!names[n].pattern.matches(id)) continue;
            used[n] = 1;
            wanted = true;
        }
        if (!wanted) continue;
        ids.push_back(id);
        paths.push_back(all[k]);
    }
    const auto unused = std::ranges::find(used, 0);
    if (unused != used.end()) {
        throw ConfigError(fmt::format("there is no field {}: survey.images names {}, fields 0-0-0 to 0-0-{}",
                                      names[static_cast<std::size_t>(unused - used.begin())].text, all.size(), std::ssize(all) - 1));
    }
    return {std::move(ids), common, std::move(paths)};
}

/// Runs `read`; an error that does not name the image's configuration gets its path in front.
template <class Read>
survey::Frame with_path(const fs::path& path, Read&& read) {
    const auto named = [&](const Error& error) {
        const std::string what = error.what();
        return what.find(path.string()) == std::string::npos ? fmt::format("{}: {}", path.string(), what) : what;
    };
    try {
        return read();
    } catch (const ConfigError& error) {
        throw ConfigError(named(error));
    } catch (const DataError& error) {
        throw DataError(named(error));
    }
}

}  // namespace

fs::path resolve(const fs::path& folder, const fs::path& path) { return path.is_absolute() ? path : folder / path; }

FieldSource FieldList::operator[](std::int64_t k) const {
    FieldSource out = common_;
    out.id = id(k);
    if (!paths_.empty()) out.path = paths_[static_cast<std::size_t>(k)];
    return out;
}

std::string FieldList::meaning(const fs::path& folder) const {
    if (paths_.empty()) return {};
    std::string all;
    for (std::size_t k = 0; k < paths_.size(); ++k)
        all += to_string(ids_[k]) + ' ' + fs::path{paths_[k]}.lexically_relative(folder).string() + '\n';
    if (!common_.settings.empty() && fs::exists(common_.settings)) all += sha256_of_file(common_.settings);
    return sha256_of_text(all);
}

FieldList list_fields(const SurveyConfig& config, const fs::path& config_folder) {
    return config.kind == SurveyKind::sdss ? list_sdss(config, config_folder) : list_images(config, config_folder);
}

survey::Frame read_field(const SurveyConfig& config, const FieldSource& field) {
    if (config.kind == SurveyKind::sdss) return survey::read_sdss_frame({field.path, field.id, field.band, config.rerun});
    survey::GenericImageConfig image;
    const fs::path& settings = field.settings.empty() ? field.path : field.settings;
    ConfigDocument::from_file(settings).read(image);
    if (!field.settings.empty()) image.image = field.path.string();
    return with_path(field.path, [&] { return survey::read_generic_frame(image, settings.parent_path(), field.id); });
}

}  // namespace bliss::inference
