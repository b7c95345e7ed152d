#include "bliss/core/config.hpp"

#include "bliss/core/error.hpp"

#include <fmt/format.h>
#include <toml++/toml.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <numeric>
#include <set>

namespace bliss {
namespace {

/// Levenshtein distance, for "did you mean".
std::size_t edit_distance(std::string_view a, std::string_view b) {
    std::vector<std::size_t> row(b.size() + 1);
    std::iota(row.begin(), row.end(), std::size_t{0});
    for (std::size_t i = 1; i <= a.size(); ++i) {
        std::size_t diagonal = row[0];
        row[0] = i;
        for (std::size_t j = 1; j <= b.size(); ++j) {
            const std::size_t substituted = diagonal + (a[i - 1] == b[j - 1] ? 0 : 1);
            diagonal = row[j];
            row[j] = std::min({row[j] + 1, row[j - 1] + 1, substituted});
        }
    }
    return row.back();
}

std::string nearest(std::string_view name, const std::set<std::string>& known) {
    const auto best = std::min_element(known.begin(), known.end(), [&](const auto& a, const auto& b) {
        return edit_distance(name, a) < edit_distance(name, b);
    });
    return best == known.end() ? std::string{} : *best;
}

/// Walks one document; remembers which keys were named, table by table.
class Reader final : public ConfigVisitor {
public:
    /// `assigned`: keys that `--set` gave, with the assignment's text.
    Reader(const toml::table& root, std::string source, const std::map<std::string, std::string>& assigned)
        : source_{std::move(source)}, assigned_{assigned} {
        open_.push_back({&root, "", {}});
    }

    void field(std::string_view key, bool& value, std::string_view) override { get(key, value, "true or false"); }

    void field(std::string_view key, std::int64_t& value, std::string_view, Range range) override {
        if (const auto* node = get(key, value, "an integer")) check_range(*node, key, static_cast<double>(value), range);
    }

    void field(std::string_view key, double& value, std::string_view, Range range) override {
        if (const auto* node = get(key, value, "a number")) check_range(*node, key, value, range);
    }

    void field(std::string_view key, std::string& value, std::string_view) override { get(key, value, "a text in quotes"); }

    void field(std::string_view key, std::vector<double>& value, std::string_view, Range range) override {
        if (const auto* node = get_list(key, value, "a list of numbers")) {
            for (const double x : value) check_range(*node, key, x, range);
        }
    }

    void field(std::string_view key, std::vector<std::string>& value, std::string_view) override {
        get_list(key, value, "a list of texts in quotes");
    }

    void require_all_known() const { require_known(open_.back()); }

protected:
    std::size_t choose(std::string_view key, std::size_t chosen, std::string_view,
                       std::span<const std::string_view> names) override {
        std::string text{names[chosen]};
        const toml::node* node = get(key, text, "a text in quotes");
        const auto found = std::find(names.begin(), names.end(), text);
        if (found == names.end()) fail(*node, key, fmt::format("'{}' is not one of {}", text, fmt::join(names, ", ")));
        return static_cast<std::size_t>(found - names.begin());
    }

    void enter(std::string_view key) override {
        const toml::node* node = find(key);
        const toml::table* table = node ? node->as_table() : nullptr;
        if (node && !table) fail(*node, key, "must be a table");
        open_.push_back({table, path(key) + ".", {}});
    }

    void leave() override {
        require_known(open_.back());
        open_.pop_back();
    }

private:
    struct Level {
        const toml::table* table;  // null where the document has no such table
        std::string prefix;
        std::set<std::string> known;
    };

    [[nodiscard]] std::string path(std::string_view key) const { return open_.back().prefix + std::string{key}; }

    const toml::node* find(std::string_view key) {
        Level& level = open_.back();
        level.known.emplace(key);
        return level.table ? level.table->get(key) : nullptr;
    }

    template <class T>
    const toml::node* get(std::string_view key, T& value, std::string_view want) {
        const toml::node* node = find(key);
        if (!node) return nullptr;
        const auto read = node->value<T>();
        if (!read) fail(*node, key, fmt::format("must be {}", want));
        value = *read;
        return node;
    }

    template <class T>
    const toml::node* get_list(std::string_view key, std::vector<T>& value, std::string_view want) {
        const toml::node* node = find(key);
        if (!node) return nullptr;
        const toml::array* array = node->as_array();
        if (!array) fail(*node, key, fmt::format("must be {}", want));
        std::vector<T> list;
        for (const toml::node& element : *array) {
            const auto read = element.value<T>();
            if (!read) fail(element, key, fmt::format("must be {}", want));
            list.push_back(*read);
        }
        value = std::move(list);
        return node;
    }

    void check_range(const toml::node& node, std::string_view key, double value, Range range) const {
        if (value >= range.low && value <= range.high) return;
        const bool open_above = range.high >= std::numeric_limits<double>::max() && std::isfinite(value);
        const bool positive = range.low == std::numeric_limits<double>::min();
        if (open_above && positive) fail(node, key, fmt::format("is {}, must be positive", value));
        if (open_above) fail(node, key, fmt::format("is {}, must be at least {}", value, range.low));
        fail(node, key, fmt::format("is {}, must lie in {} to {}", value, range.low, range.high));
    }

    void require_known(const Level& level) const {
        if (!level.table) return;
        for (const auto& [key, node] : *level.table) {
            const std::string name{key.str()};
            if (level.known.contains(name)) continue;
            const std::string guess = nearest(name, level.known);
            throw ConfigError(fmt::format("{}: unknown key '{}{}'{}", where(node, level.prefix + name), level.prefix, name,
                                          guess.empty() ? "" : fmt::format(" (did you mean '{}{}'?)", level.prefix, guess)));
        }
    }

    [[nodiscard]] std::string where(const toml::node& node, const std::string& key) const {
        if (const auto found = assigned_.find(key); found != assigned_.end()) return found->second;
        for (const auto& [assigned, source] : assigned_) {
            if (assigned.starts_with(key + ".")) return source;  // a table that --set made
        }
        const auto& begin = node.source().begin;
        if (node.source().path) return fmt::format("{}:{}:{}", *node.source().path, begin.line, begin.column);
        return fmt::format("{}:{}:{}", source_, begin.line, begin.column);
    }

    [[noreturn]] void fail(const toml::node& node, std::string_view key, std::string_view problem) const {
        throw ConfigError(fmt::format("{}: '{}' {}", where(node, path(key)), path(key), problem));
    }

    std::string source_;
    const std::map<std::string, std::string>& assigned_;
    std::vector<Level> open_;
};

class Writer final : public ConfigVisitor {
public:
    Writer(std::string& out, bool with_comments) : out_{out}, with_comments_{with_comments} {}

    void field(std::string_view key, bool& value, std::string_view about) override {
        line(key, value ? "true" : "false", about);
    }
    void field(std::string_view key, std::int64_t& value, std::string_view about, Range) override {
        line(key, fmt::format("{}", value), about);
    }
    void field(std::string_view key, double& value, std::string_view about, Range) override { line(key, number(value), about); }
    void field(std::string_view key, std::string& value, std::string_view about) override { line(key, quoted(value), about); }
    void field(std::string_view key, std::vector<double>& value, std::string_view about, Range) override {
        std::vector<std::string> parts;
        for (const double x : value) parts.push_back(number(x));
        line(key, fmt::format("[{}]", fmt::join(parts, ", ")), about);
    }
    void field(std::string_view key, std::vector<std::string>& value, std::string_view about) override {
        std::vector<std::string> parts;
        for (const auto& x : value) parts.push_back(quoted(x));
        line(key, fmt::format("[{}]", fmt::join(parts, ", ")), about);
    }

protected:
    std::size_t choose(std::string_view key, std::size_t chosen, std::string_view about,
                       std::span<const std::string_view> names) override {
        line(key, quoted(names[chosen]), fmt::format("{} ({})", about, fmt::join(names, ", ")));
        return chosen;
    }
    void enter(std::string_view key) override {
        path_.emplace_back(key);
        out_ += fmt::format("\n[{}]\n", fmt::join(path_, "."));
    }
    void leave() override { path_.pop_back(); }

private:
    /// The shortest text that reads back as the same double, always with a point or an exponent.
    static std::string number(double value) {
        std::string text = fmt::format("{}", value);
        if (text.find_first_of(".en") == std::string::npos) text += ".0";
        return text;
    }
    static std::string quoted(std::string_view text) {
        std::string out = "\"";
        for (const char c : text) {
            if (static_cast<unsigned char>(c) < 0x20) {
                out += fmt::format("\\u{:04X}", static_cast<int>(c));
                continue;
            }
            if (c == '"' || c == '\\') out += '\\';
            out += c;
        }
        return out + "\"";
    }
    void line(std::string_view key, std::string_view value, std::string_view about) {
        out_ += with_comments_ && !about.empty() ? fmt::format("{} = {}  # {}\n", key, value, about)
                                                 : fmt::format("{} = {}\n", key, value);
    }

    std::string& out_;
    bool with_comments_;
    std::vector<std::string> path_;
};

toml::table parse(std::string_view text, std::string_view name) {
    try {
        return toml::parse(text, name);
    } catch (const toml::parse_error& error) {
        const auto& begin = error.source().begin;
        throw ConfigError(fmt::format("{}:{}:{}: {}", name, begin.line, begin.column, error.description()));
    }
}

}  // namespace

struct ConfigDocument::Impl {
    toml::table root;
    std::string name;
    std::map<std::string, std::string> assigned;
};

ConfigDocument::ConfigDocument(std::unique_ptr<Impl> impl) : impl_{std::move(impl)} {}
ConfigDocument::ConfigDocument(ConfigDocument&&) noexcept = default;
ConfigDocument& ConfigDocument::operator=(ConfigDocument&&) noexcept = default;
ConfigDocument::~ConfigDocument() = default;

ConfigDocument ConfigDocument::from_file(const std::filesystem::path& path) {
    try {
        return ConfigDocument{std::make_unique<Impl>(Impl{toml::parse_file(path.string()), path.string(), {}})};
    } catch (const toml::parse_error& error) {
        const auto& begin = error.source().begin;
        if (begin.line == 0) throw ConfigError(fmt::format("{}: {}", path.string(), error.description()));
        throw ConfigError(fmt::format("{}:{}:{}: {}", path.string(), begin.line, begin.column, error.description()));
    }
}

ConfigDocument ConfigDocument::from_text(std::string_view text, std::string_view name) {
    return ConfigDocument{std::make_unique<Impl>(Impl{parse(text, name), std::string{name}, {}})};
}

void ConfigDocument::set(std::string_view assignment) {
    const std::size_t equals = assignment.find('=');
    const std::string source = fmt::format("--set {}", assignment);
    if (equals == std::string_view::npos || equals == 0) {
        throw ConfigError(fmt::format("{}: write it as section.key=value", source));
    }
    std::string keys{assignment.substr(0, equals)};
    const std::string value{assignment.substr(equals + 1)};
    toml::table parsed;
    try {
        parsed = toml::parse("value = " + value, source);
    } catch (const toml::parse_error&) {
        parsed = toml::table{{"value", value}};
    }
    impl_->assigned[keys] = source;
    toml::table* table = &impl_->root;
    for (std::size_t dot = keys.find('.'); dot != std::string::npos; dot = keys.find('.')) {
        const std::string part = keys.substr(0, dot);
        keys.erase(0, dot + 1);
        if (!table->contains(part)) table->insert(part, toml::table{});
        table = table->get(part)->as_table();
        if (!table) throw ConfigError(fmt::format("{}: '{}' is no table", source, part));
    }
    table->insert_or_assign(keys, *parsed.get("value"));
}

std::unique_ptr<ConfigVisitor> ConfigDocument::make_reader() const {
    return std::make_unique<Reader>(impl_->root, impl_->name, impl_->assigned);
}

void ConfigDocument::finish(ConfigVisitor& reader) { static_cast<Reader&>(reader).require_all_known(); }

std::unique_ptr<ConfigVisitor> detail::make_config_writer(std::string& out, bool with_comments) {
    return std::make_unique<Writer>(out, with_comments);
}

}  // namespace bliss
