#pragma once

#include <cstdint>
#include <filesystem>
#include <limits>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

/// Typed configuration. A module's settings are a plain struct whose initialisers are the defaults, and one function
/// `void describe(ConfigVisitor&, Settings&)` that names each key, its unit and its range. The same function reads a file,
/// applies `--set` overrides, finds unknown keys, and writes the resolved configuration.
namespace bliss {

/// Numbers a key accepts, both ends included.
struct Range {
    double low = -std::numeric_limits<double>::infinity();
    double high = std::numeric_limits<double>::infinity();
};

inline constexpr Range k_positive{std::numeric_limits<double>::min(), std::numeric_limits<double>::max()};
inline constexpr Range k_not_negative{0, std::numeric_limits<double>::max()};
inline constexpr Range k_unit_interval{0, 1};

/// One name of an enumeration's value, as it stands in a configuration.
template <class Enum>
struct Choice {
    std::string_view name;
    Enum value;
};

class ConfigVisitor {
public:
    virtual ~ConfigVisitor() = default;

    /// `about` says meaning and unit; it becomes the comment in a written configuration.
    virtual void field(std::string_view key, bool& value, std::string_view about) = 0;
    virtual void field(std::string_view key, std::int64_t& value, std::string_view about, Range range = {}) = 0;
    virtual void field(std::string_view key, double& value, std::string_view about, Range range = {}) = 0;
    virtual void field(std::string_view key, std::string& value, std::string_view about) = 0;
    virtual void field(std::string_view key, std::vector<double>& value, std::string_view about, Range range = {}) = 0;
    virtual void field(std::string_view key, std::vector<std::string>& value, std::string_view about) = 0;

    /// A key that takes one of a few names.
    template <class Enum, std::size_t N>
    void choice(std::string_view key, Enum& value, std::string_view about, const Choice<Enum> (&choices)[N]) {
        std::vector<std::string_view> names;
        std::size_t chosen = 0;
        for (std::size_t i = 0; i < N; ++i) {
            names.push_back(choices[i].name);
            if (choices[i].value == value) chosen = i;
        }
        value = choices[choose(key, chosen, about, names)].value;
    }

    /// A table of its own: its keys are those that `describe` names inside.
    template <class Settings>
    void section(std::string_view key, Settings& settings) {
        enter(key);
        describe(*this, settings);
        leave();
    }

protected:
    virtual std::size_t choose(std::string_view key, std::size_t chosen, std::string_view about,
                               std::span<const std::string_view> names) = 0;
    virtual void enter(std::string_view key) = 0;
    virtual void leave() = 0;
};

/// A TOML document with overrides, read through `describe` functions.
class ConfigDocument {
public:
    /// Parses a file. @throws ConfigError naming file, line and column.
    static ConfigDocument from_file(const std::filesystem::path& path);

    /// Parses a text; `name` stands for the file in messages. @throws ConfigError.
    static ConfigDocument from_text(std::string_view text, std::string_view name);

    /// Replaces or adds one value, written `section.key=VALUE` with VALUE in TOML (a bare word is taken as a string).
    /// @throws ConfigError when it is not of that form.
    void set(std::string_view assignment);

    /// Fills settings from the document. @throws ConfigError for a value of the wrong type or out of range, and for a key
    /// no `describe` named (with the nearest known key), each with file:line:column.
    template <class Settings>
    void read(Settings& settings) const {
        const auto reader = make_reader();
        describe(*reader, settings);
        finish(*reader);
    }

    ConfigDocument(ConfigDocument&&) noexcept;
    ConfigDocument& operator=(ConfigDocument&&) noexcept;
    ~ConfigDocument();

private:
    struct Impl;
    explicit ConfigDocument(std::unique_ptr<Impl> impl);
    [[nodiscard]] std::unique_ptr<ConfigVisitor> make_reader() const;
    static void finish(ConfigVisitor& reader);

    std::unique_ptr<Impl> impl_;
};

namespace detail {
/// Writes every key with its value; comments are the keys' `about` texts where asked for.
[[nodiscard]] std::unique_ptr<ConfigVisitor> make_config_writer(std::string& out, bool with_comments);
}  // namespace detail

/// The settings as TOML, every key included, with comments. Reading it back gives the same settings.
template <class Settings>
[[nodiscard]] std::string to_toml(const Settings& settings, bool with_comments = true) {
    std::string text;
    Settings copy = settings;
    describe(*detail::make_config_writer(text, with_comments), copy);
    return text;
}

}  // namespace bliss
