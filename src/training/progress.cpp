#include "progress.hpp"

#include "bliss/core/atomic_file.hpp"
#include "bliss/core/error.hpp"

#include <fmt/chrono.h>
#include <fmt/format.h>
#include <spdlog/spdlog.h>

#include <algorithm>
#include <fstream>

namespace bliss::training {
namespace {

using Clock = std::chrono::steady_clock;

constexpr std::chrono::seconds k_log_interval{10};

}  // namespace

nlohmann::json to_json(const StepReport& report, const std::string& prefix) {
    return {{prefix + "loss", report.loss},
            {prefix + "loss_count", report.loss_count},
            {prefix + "loss_location", report.loss_location},
            {prefix + "loss_flux", report.loss_flux},
            {prefix + "loss_type", report.loss_type},
            {prefix + "loss_shape", report.loss_shape}};
}

void MetricsFile::append(const nlohmann::json& line) const {
    std::ofstream file{path_, std::ios::app};
    file << line.dump() << '\n';
    file.flush();
    if (!file) throw IoError(fmt::format("{}: cannot be written; check permissions and free space", path_.string()));
}

void MetricsFile::forget_after(std::int64_t step) const {
    if (!std::filesystem::exists(path_)) return;
    std::ifstream file{path_};
    std::string kept, text;
    while (std::getline(file, text)) {
        const nlohmann::json line = nlohmann::json::parse(text, nullptr, false);
        if (line.is_object() && line.value("step", step + 1) <= step) kept += text + '\n';
    }
    write_file(path_, kept);
}

void MetricsFile::remove() const { std::filesystem::remove(path_); }

void MetricsWindow::add(const StepReport& report) {
    ++steps_;
    sum_.loss += report.loss;
    sum_.loss_count += report.loss_count;
    sum_.loss_location += report.loss_location;
    sum_.loss_flux += report.loss_flux;
    sum_.loss_type += report.loss_type;
    sum_.loss_shape += report.loss_shape;
    sum_.gradient_norm += report.gradient_norm;
    sum_.learning_rate = report.learning_rate;
    sum_.step = report.step;
    sum_.times.add(report.times);
    skipped_ += report.skipped ? 1 : 0;
}

bool MetricsWindow::due() const { return Clock::now() - start_ >= k_log_interval; }

nlohmann::json MetricsWindow::close(double tiles_per_step) {
    const double n = static_cast<double>(std::max<std::int64_t>(1, steps_));
    for (double* value :
         {&sum_.loss, &sum_.loss_count, &sum_.loss_location, &sum_.loss_flux, &sum_.loss_type, &sum_.loss_shape, &sum_.gradient_norm}) {
        *value /= n;
    }
    nlohmann::json line = to_json(sum_, "");
    line["step"] = sum_.step;
    line["gradient_norm"] = sum_.gradient_norm;
    line["learning_rate"] = sum_.learning_rate;
    line["tiles_per_s"] = n * tiles_per_step / std::chrono::duration<double>(Clock::now() - start_).count();
    line["skipped"] = skipped_;
    nlohmann::json& seconds = line["seconds_a_step"];
    const StepTimes& times = sum_.times;
    for (const auto& [name, sum] : {std::pair{"simulate", times.simulate_s},
                                    {"detect", times.detect_s},
                                    {"sources", times.sources_s},
                                    {"sum", times.sum_s},
                                    {"wait", times.wait_s},
                                    {"optimise", times.optimise_s}}) {
        seconds[name] = sum / n;
    }
    *this = MetricsWindow{};
    return line;
}

void say_progress(const TrainingConfig& config, const nlohmann::json& line, double seconds, std::int64_t steps_this_run) {
    const auto step = line.at("step").get<std::int64_t>();
    const double left = seconds / static_cast<double>(std::max<std::int64_t>(1, steps_this_run)) * static_cast<double>(config.steps - step);
    spdlog::info(
        "step {}/{}  loss {:.5f} a tile (count {:.5f}), location {:.3f} flux {:.3f} type {:.3f} a source, shape {:.3f} a galaxy  {:.0f} "
        "tiles/s  {:%H:%M:%S} left",
        step, config.steps, line.at("loss").get<double>(), line.at("loss_count").get<double>(), line.at("loss_location").get<double>(),
        line.at("loss_flux").get<double>(), line.at("loss_type").get<double>(), line.at("loss_shape").get<double>(),
        line.at("tiles_per_s").get<double>(), std::chrono::seconds(static_cast<std::int64_t>(left)));
}

bool Validations::add(const StepReport& report) {
    last = to_json(report, "validation_");
    const bool better = !report.skipped && (best_step < 0 || report.loss_all < best);
    since_best = better ? 0 : since_best + 1;
    if (!better) return false;
    best = report.loss_all;
    best_step = report.step;
    return true;
}

std::string Validations::to_text() const {
    return nlohmann::json{{"last", last},           {"model", model},           {"best", best},
                          {"best_step", best_step}, {"since_best", since_best}, {"finished", finished}}
        .dump();
}

Validations Validations::from_text(const std::string& text) {
    try {
        const nlohmann::json from = nlohmann::json::parse(text);
        return {from.at("last"), from.at("model"), from.at("best"), from.at("best_step"), from.at("since_best"), from.at("finished")};
    } catch (const nlohmann::json::exception& error) {
        throw DataError(fmt::format("the checkpoint's validations cannot be read ({}); use --fresh to start over", error.what()));
    }
}

}  // namespace bliss::training
