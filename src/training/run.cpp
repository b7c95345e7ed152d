#include "bliss/training/run.hpp"

#include "bliss/comm/agree.hpp"
#include "bliss/core/atomic_file.hpp"
#include "bliss/core/error.hpp"
#include "bliss/core/folder_lock.hpp"
#include "bliss/core/interrupt.hpp"
#include "bliss/encoder/precision.hpp"
#include "bliss/training/trainer.hpp"
#include "checkpoint_folder.hpp"
#include "galaxy_stage.hpp"

#include <fmt/chrono.h>
#include <fmt/format.h>
#include <spdlog/spdlog.h>
#include <nlohmann/json.hpp>

#include <chrono>
#include <fstream>
#include <optional>

namespace bliss::training {
namespace {

namespace fs = std::filesystem;
using Clock = std::chrono::steady_clock;

constexpr std::chrono::seconds k_log_interval{10};
/// How long another run's end in the same folder is waited for: that of ranks which were just killed.
constexpr std::chrono::seconds k_lock_patience{100};

double seconds_since(Clock::time_point start) { return std::chrono::duration<double>(Clock::now() - start).count(); }

nlohmann::json to_json(const StepReport& report, const std::string& prefix) {
    return {{prefix + "loss", report.loss},
            {prefix + "loss_count", report.loss_count},
            {prefix + "loss_location", report.loss_location},
            {prefix + "loss_flux", report.loss_flux},
            {prefix + "loss_type", report.loss_type},
            {prefix + "loss_shape", report.loss_shape}};
}

/// Adds one line to metrics.jsonl.
void append_line(const fs::path& path, const nlohmann::json& line) {
    std::ofstream file{path, std::ios::app};
    file << line.dump() << '\n';
    file.flush();
    if (!file) throw IoError(fmt::format("{}: cannot be written; check permissions and free space", path.string()));
}

/// Drops what a killed run wrote after its last checkpoint, so that each step stands once.
void forget_after(const fs::path& path, std::int64_t step) {
    if (!fs::exists(path)) return;
    std::ifstream file{path};
    std::string kept, text;
    while (std::getline(file, text)) {
        const nlohmann::json line = nlohmann::json::parse(text, nullptr, false);
        if (line.is_object() && line.value("step", step + 1) <= step) kept += text + '\n';
    }
    write_file(path, kept);
}

/// Mean of the steps since the last line, and the speed.
class Window {
public:
    void add(const StepReport& report) {
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
    [[nodiscard]] bool due() const { return Clock::now() - start_ >= k_log_interval; }
    /// Leaves out of the speed what was no step.
    void leave_out(Clock::duration time) { start_ += time; }

    nlohmann::json close(double tiles_per_step) {
        const double n = static_cast<double>(std::max<std::int64_t>(1, steps_));
        for (double* value :
             {&sum_.loss, &sum_.loss_count, &sum_.loss_location, &sum_.loss_flux, &sum_.loss_type, &sum_.loss_shape, &sum_.gradient_norm}) {
            *value /= n;
        }
        nlohmann::json line = to_json(sum_, "");
        line["step"] = sum_.step;
        line["gradient_norm"] = sum_.gradient_norm;
        line["learning_rate"] = sum_.learning_rate;
        line["tiles_per_s"] = n * tiles_per_step / seconds_since(start_);
        line["skipped"] = skipped_;
        nlohmann::json& seconds = line["seconds_a_step"];
        const StepTimes& times = sum_.times;
        for (const auto& [name, sum] : {std::pair{"simulate", times.simulate_s},
                                        {"detect", times.detect_s},
                                        {"classify", times.classify_s},
                                        {"shapes", times.shapes_s},
                                        {"sum", times.sum_s},
                                        {"wait", times.wait_s},
                                        {"optimise", times.optimise_s}}) {
            seconds[name] = sum / n;
        }
        *this = Window{};
        return line;
    }

private:
    Clock::time_point start_ = Clock::now();
    std::int64_t steps_ = 0;
    std::int64_t skipped_ = 0;
    StepReport sum_;
};

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

/// @throws ConfigError where the decoder that a training is given is a file that it would replace or remove
void check_not_replaced(const fs::path& decoder, const fs::path& output) {
    if (!fs::exists(output) || !fs::equivalent(decoder, output)) return;
    throw ConfigError(
        fmt::format("galaxies.model: {} is what this run would replace; give another --output, or a copy of the file", output.string()));
}

/// The last thing before the last validation, checkpoint and model: nothing else is left to do for a run that has these.
void fit_widths(Trainer& trainer) {
    const WidthReport widths = trainer.fit_widths();
    if (widths.sources == 0) return;
    spdlog::info("widths fitted to {:.0f} sources: location and flux {:.4f} -> {:.4f} nats a source", widths.sources, widths.before,
                 widths.after);
}

}  // namespace

RunSummary run(const TrainingConfig& asked, const RunOptions& options, const comm::Communicator& comm) {
    TrainingConfig config = asked;
    const bool root = comm.rank() == 0;
    const CheckpointFolder checkpoints{options.output};
    const fs::path metrics = options.output / "metrics.jsonl";
    const fs::path model = options.output / "model.safetensors";
    const double tiles_per_step = static_cast<double>(config.images_per_step * config.tiles_per_side * config.tiles_per_side);

    // What cannot be done is refused before anything is removed or replaced.
    (void)encoder::choose_precision(config.precision, comm);
    std::optional<encoder::Galaxies> named = named_galaxies(config, options, comm);
    if (named) config.galaxies.vae = named->config;
    std::optional<FolderLock> lock;  // rank 0's
    std::string resumed;             // the checkpoint to go on from; empty: there is none
    if (!options.dry_run) {
        comm::agree_on(comm, [&] {
            if (!root) return;
            create_output_folder(options.output);
            lock.emplace(options.output, k_lock_patience);
            if (named) check_not_replaced(options.config_folder / config.galaxies.model, model);
            if (!options.fresh) {
                resumed = choose_checkpoint(checkpoints.all(), config).string();
                return;
            }
            const fs::path galaxies = options.output / k_galaxies_file;
            if (named) check_not_replaced(options.config_folder / config.galaxies.model, galaxies);
            // A run that starts over and is killed early must not go on from what was there.
            checkpoints.remove_all();
            for (const fs::path& old : {model, galaxies}) fs::remove(old);
        });
    }
    Trainer trainer{config, comm, galaxy_stage(config, options, std::move(named), comm)};
    if (options.dry_run) {
        const auto start = Clock::now();
        const StepReport report = trainer.step();
        spdlog::info("dry run: one step of {:.0f} tiles in {:.2f} s, loss {:.4f}; {} steps in all, nothing written", tiles_per_step,
                     seconds_since(start), report.loss, config.steps);
        return {};
    }
    nlohmann::json validation = nlohmann::json::object();
    comm.broadcast(resumed);
    comm::agree_on(comm, [&] {
        if (!resumed.empty()) validation = nlohmann::json::parse(trainer.load_checkpoint(resumed), nullptr, false);
        if (!validation.is_object()) validation = nlohmann::json::object();
        if (root && !resumed.empty()) forget_after(metrics, trainer.steps_done());
        if (root && resumed.empty()) fs::remove(metrics);
        if (root) write_file(options.output / "config.toml", to_toml(config));
    });
    if (!resumed.empty()) spdlog::info("resuming at step {} from {}", trainer.steps_done(), resumed);

    const auto start = Clock::now();
    const std::int64_t first_step = trainer.steps_done();
    std::int64_t last_saved = first_step;
    Window window;
    for (bool stop = false; !stop && trainer.steps_done() < config.steps;) {
        window.add(trainer.step());
        const std::int64_t step = trainer.steps_done();
        const bool last = step == config.steps;
        const auto stepped = Clock::now();
        if (last) fit_widths(trainer);
        const bool validate = config.validation_images > 0 && (step % config.validation_every == 0 || last);
        if (validate) validation = to_json(trainer.validate(), "validation_");
        window.leave_out(Clock::now() - stepped);
        stop = !last && comm.all_reduce_max(std::int64_t{stop_requested() ? 1 : 0}) > 0;
        const bool save = step % config.checkpoint_every == 0 || last || stop;
        if (save) trainer.synchronize();
        comm::agree_on(comm, [&] {
            if (!root) return;
            if (validate || last || stop || window.due()) {
                nlohmann::json line = window.close(tiles_per_step);
                say_progress(config, line, seconds_since(start), step - first_step);
                if (validate) {
                    line.update(validation);
                    spdlog::info("validation: {}", validation.dump());
                }
                append_line(metrics, line);
            }
            if (save) {
                trainer.save_model(model, validation.dump());  // usable while the training goes on
                checkpoints.replace(last_saved, config.keep_checkpoints,
                                    [&](const fs::path& path) { trainer.save_checkpoint(path, validation.dump()); });
                last_saved = step;
            }
        });
    }
    spdlog::info("trained {} steps in {:.0f} s, {} left out in all: {}", trainer.steps_done() - first_step, seconds_since(start),
                 trainer.steps_skipped(), model.string());
    return {trainer.steps_done(), config.steps - trainer.steps_done()};
}

}  // namespace bliss::training
