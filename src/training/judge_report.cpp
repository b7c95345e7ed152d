#include "bliss/training/judge.hpp"

#include <fmt/format.h>
#include <nlohmann/json.hpp>

namespace bliss::training {
namespace {

using nlohmann::json;

json json_of(const Reliability& reliability) {
    json bins = json::array();
    for (const auto& bin : reliability.bins) {
        if (bin.count > 0) bins.push_back({{"count", bin.count}, {"said", bin.said / bin.count}, {"true", bin.true_count / bin.count}});
    }
    return {{"error", reliability.error()}, {"bins", bins}};
}

json json_of(const SourceCalibration& calibration) {
    json out{{"sources", calibration.sources}, {"star", json_of(calibration.star)}};
    for (std::size_t k = 0; k < k_parameter_names.size(); ++k) {
        const RankHistogram& ranks = calibration.ranks[k];
        if (ranks.total() == 0) continue;
        out["parameters"][k_parameter_names[k]] = {{"count", ranks.total()},
                                                   {"in_50", ranks.coverage(0.5)},
                                                   {"in_90", ranks.coverage(0.9)},
                                                   {"p_value", ranks.p_value()},
                                                   {"ranks", ranks.counts}};
    }
    return out;
}

void append_reliability(std::string& text, const std::string& title, const Reliability& reliability) {
    text += fmt::format("\n{}: error {:.4f}\n{:>11} {:>9} {:>7} {:>7}\n", title, reliability.error(), "p", "count", "mean p", "true");
    for (std::size_t k = 0; k < reliability.bins.size(); ++k) {
        const auto& bin = reliability.bins[k];
        if (bin.count == 0) continue;
        const double width = 1.0 / static_cast<double>(k_reliability_bins), low = width * static_cast<double>(k);
        text += fmt::format("  {:>4.1f}-{:<4.1f} {:>9.0f} {:>7.3f} {:>7.3f}\n", low, low + width, bin.count, bin.said / bin.count,
                            bin.true_count / bin.count);
    }
}

void append_sources(std::string& text, const std::string& title, const SourceCalibration& calibration) {
    text += fmt::format("\n{}: {:.0f} sources\n{:>19} {:>9} {:>7} {:>7} {:>9}\n", title, calibration.sources, "parameter", "count",
                        "in 50%", "in 90%", "flat: p");
    for (std::size_t k = 0; k < k_parameter_names.size(); ++k) {
        const RankHistogram& ranks = calibration.ranks[k];
        if (ranks.total() == 0) continue;
        text += fmt::format("{:>19} {:>9.0f} {:>7.3f} {:>7.3f} {:>9.2g}\n", k_parameter_names[k], ranks.total(), ranks.coverage(0.5),
                            ranks.coverage(0.9), ranks.p_value());
    }
    append_reliability(text, title + ", star", calibration.star);
}

}  // namespace

std::string to_text(const Judgement& j) {
    std::string text = fmt::format("{:.0f} simulated tiles, drawn from the model's training prior\n", j.tiles);
    text += fmt::format("-ln q of counts, places and fluxes: {:.5f} nats a tile; {:.5f} if tiles were independent\n", j.nll, j.nll_alone);
    text += fmt::format("sources: {:.1f} expected, {:.0f} there ({:+.2f} %)\n", j.expected, j.found, 100 * (j.expected / j.found - 1));
    append_reliability(text, "a tile holds a source", j.any_source);
    append_reliability(text, "the same, independent tiles", j.any_source_alone);
    append_sources(text, "all", j.all);
    append_sources(text, "in blends", j.blended);
    return text;
}

std::string to_json(const Judgement& j) {
    return json{{"tiles", j.tiles},
                {"nll", j.nll},
                {"nll_independent", j.nll_alone},
                {"expected_sources", j.expected},
                {"true_sources", j.found},
                {"any_source", json_of(j.any_source)},
                {"any_source_independent", json_of(j.any_source_alone)},
                {"all", json_of(j.all)},
                {"blended", json_of(j.blended)}}
        .dump(2);
}

}  // namespace bliss::training
