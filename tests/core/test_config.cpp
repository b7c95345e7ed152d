#include "bliss/core/config.hpp"

#include "bliss/core/error.hpp"

#include <catch2/catch_test_macros.hpp>
#include <catch2/matchers/catch_matchers_exception.hpp>
#include <catch2/matchers/catch_matchers_string.hpp>

namespace {

using Catch::Matchers::ContainsSubstring;
using Catch::Matchers::MessageMatches;

enum class Noise { normal, poisson };

struct Inner {
    double sigma_px = 1.5;
    std::vector<double> scales{2, 30};
};
void describe(bliss::ConfigVisitor& v, Inner& c) {
    v.field("sigma_px", c.sigma_px, "width", bliss::k_positive);
    v.field("scales", c.scales, "scales");
}

struct Outer {
    std::int64_t steps = 10;
    bool fast = false;
    std::string name = "a \"b\"";
    std::vector<std::string> bands{"r"};
    Noise noise = Noise::normal;
    Inner inner;
};
void describe(bliss::ConfigVisitor& v, Outer& c) {
    v.field("steps", c.steps, "steps", bliss::Range{1, 100});
    v.field("fast", c.fast, "fast");
    v.field("name", c.name, "name");
    v.field("bands", c.bands, "bands");
    v.choice("noise", c.noise, "noise", {bliss::Choice<Noise>{"normal", Noise::normal}, bliss::Choice<Noise>{"poisson", Noise::poisson}});
    v.section("inner", c.inner);
}

Outer read(std::string_view text, std::initializer_list<const char*> assignments = {}) {
    auto document = bliss::ConfigDocument::from_text(text, "x.toml");
    for (const char* assignment : assignments) document.set(assignment);
    Outer out;
    document.read(out);
    return out;
}

}  // namespace

TEST_CASE("an empty document gives the defaults") {
    const Outer out = read("");
    CHECK(out.steps == 10);
    CHECK(out.inner.sigma_px == 1.5);
}

TEST_CASE("values, lists, choices and tables are read") {
    const Outer out = read("steps = 7\nfast = true\nnoise = 'poisson'\nbands = ['g', 'r']\n[inner]\nsigma_px = 2\nscales = [1, 2.5]\n");
    CHECK(out.steps == 7);
    CHECK(out.fast);
    CHECK(out.noise == Noise::poisson);
    CHECK(out.bands == std::vector<std::string>{"g", "r"});
    CHECK(out.inner.sigma_px == 2.0);
    CHECK(out.inner.scales == std::vector<double>{1, 2.5});
}

TEST_CASE("the written configuration reads back the same, with and without comments") {
    Outer settings = read("steps = 33\nnoise = 'poisson'\n[inner]\nsigma_px = 0.1\n");
    for (const bool comments : {true, false}) {
        const std::string text = bliss::to_toml(settings, comments);
        CHECK(bliss::to_toml(read(text), comments) == text);
        CHECK(read(text).name == settings.name);
    }
}

TEST_CASE("--set overrides and adds values") {
    const Outer out = read("[inner]\nsigma_px = 2.0\n", {"inner.sigma_px=3.5", "steps=5", "noise=poisson", "inner.scales=[7.0]"});
    CHECK(out.inner.sigma_px == 3.5);
    CHECK(out.steps == 5);
    CHECK(out.noise == Noise::poisson);
    CHECK(out.inner.scales == std::vector<double>{7});
}

TEST_CASE("mistakes are named with file, line, column and the nearest key") {
    CHECK_THROWS_MATCHES(read("stesp = 3\n"), bliss::ConfigError,
                         MessageMatches(ContainsSubstring("x.toml:1:") && ContainsSubstring("'stesp'") &&
                                        ContainsSubstring("did you mean 'steps'")));
    CHECK_THROWS_MATCHES(read("steps = 3\n[inner]\nsigma = 1\n"), bliss::ConfigError,
                         MessageMatches(ContainsSubstring("x.toml:3:") && ContainsSubstring("inner.sigma_px")));
    CHECK_THROWS_MATCHES(read("steps = 'many'\n"), bliss::ConfigError,
                         MessageMatches(ContainsSubstring("x.toml:1:") && ContainsSubstring("an integer")));
    CHECK_THROWS_MATCHES(read("steps = 0\n"), bliss::ConfigError, MessageMatches(ContainsSubstring("must lie in 1 to 100")));
    CHECK_THROWS_MATCHES(read("[inner]\nsigma_px = -1\n"), bliss::ConfigError, MessageMatches(ContainsSubstring("must be positive")));
    CHECK_THROWS_MATCHES(read("noise = 'pink'\n"), bliss::ConfigError,
                         MessageMatches(ContainsSubstring("normal, poisson")));
    CHECK_THROWS_MATCHES(read("steps = = 3\n"), bliss::ConfigError, MessageMatches(ContainsSubstring("x.toml:1:")));
    CHECK_THROWS_MATCHES(read("", {"steps"}), bliss::ConfigError, MessageMatches(ContainsSubstring("section.key=value")));
    CHECK_THROWS_MATCHES(read("", {"stepz=4"}), bliss::ConfigError,
                         MessageMatches(ContainsSubstring("--set stepz=4") && ContainsSubstring("steps")));
    CHECK_THROWS_AS(bliss::ConfigDocument::from_file("/nonexistent/x.toml"), bliss::ConfigError);
}
