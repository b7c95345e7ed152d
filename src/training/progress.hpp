#pragma once

#include "bliss/training/config.hpp"
#include "bliss/training/trainer.hpp"

#include <nlohmann/json.hpp>

#include <chrono>
#include <cstdint>
#include <filesystem>
#include <string>

namespace bliss::training {

/// A report's losses by name, each led by `prefix`.
[[nodiscard]] nlohmann::json to_json(const StepReport& report, const std::string& prefix);

/// metrics.jsonl: what came of the steps, a line for some of them.
class MetricsFile {
public:
    explicit MetricsFile(std::filesystem::path path) : path_{std::move(path)} {}

    /// @throws IoError
    void append(const nlohmann::json& line) const;

    /// Drops what a killed run wrote after its last checkpoint, so that each step stands once. @throws IoError
    void forget_after(std::int64_t step) const;

    void remove() const;

private:
    std::filesystem::path path_;
};

/// The steps since the last line of metrics: their means, and their speed.
class MetricsWindow {
public:
    void add(const StepReport& report);

    /// Whether a line is due.
    [[nodiscard]] bool due() const;

    /// Leaves out of the speed what was no step.
    void leave_out(std::chrono::steady_clock::duration time) { start_ += time; }

    /// The line; begins anew.
    [[nodiscard]] nlohmann::json close(double tiles_per_step);

private:
    std::chrono::steady_clock::time_point start_ = std::chrono::steady_clock::now();
    std::int64_t steps_ = 0;
    std::int64_t skipped_ = 0;
    StepReport sum_;
};

/// Tells a person of a line of metrics. @param seconds that this run took for `steps_this_run`
void say_progress(const TrainingConfig& config, const nlohmann::json& line, double seconds, std::int64_t steps_this_run);

/// What a training knows of its validations; kept in checkpoints.
struct Validations {
    nlohmann::json last = nlohmann::json::object();   ///< losses by name; none yet: empty
    nlohmann::json model = nlohmann::json::object();  ///< of the weights that a finished training ends with, where they are not the last
    double best = 0;                                  ///< least sum of all losses, nats a tile
    std::int64_t best_step = -1;                      ///< of that; none yet: -1
    std::int64_t since_best = 0;                      ///< validations after it
    bool finished = false;                            ///< the training is done, and its last checkpoint is the best one's

    /// @return whether it is the best so far; one without what was not finite is not
    bool add(const StepReport& report);
    /// Of the weights as they are, for the model's card.
    [[nodiscard]] std::string card() const { return (model.empty() ? last : model).dump(); }

    [[nodiscard]] std::string to_text() const;
    /// @throws DataError
    [[nodiscard]] static Validations from_text(const std::string& text);
};

}  // namespace bliss::training
