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
#include "progress.hpp"
#include "sum_engine.hpp"

#include <fmt/format.h>
#include <spdlog/spdlog.h>

#include <chrono>
#include <optional>

namespace bliss::training {
namespace {

namespace fs = std::filesystem;
using Clock = std::chrono::steady_clock;

/// How long another run's end in the same folder is waited for: that of ranks which were just killed.
constexpr std::chrono::seconds k_lock_patience{100};

double seconds_since(Clock::time_point start) { return std::chrono::duration<double>(Clock::now() - start).count(); }

/// @throws ConfigError where the decoder that a training is given is a file that it would replace or remove
void check_not_replaced(const fs::path& decoder, const fs::path& output) {
    if (!fs::exists(output) || !fs::equivalent(decoder, output)) return;
    throw ConfigError(
        fmt::format("galaxies.model: {} is what this run would replace; give another --output, or a copy of the file", output.string()));
}

/// Takes the weights that validated best. @return whether they are others than the last @collective
bool take_best(Trainer& trainer, const TrainingConfig& config, const fs::path& best, const comm::Communicator& comm, std::int64_t step) {
    if (step < 0 || step == trainer.steps_done()) return false;
    std::string problem;
    if (comm.rank() == 0) problem = problem_with_checkpoint(best, config, step);
    comm.broadcast(problem);
    if (!problem.empty()) {
        spdlog::warn("{}; the weights of step {} are taken, though those of step {} validated better", problem, trainer.steps_done(), step);
        return false;
    }
    spdlog::warn("the weights of step {} are taken, which validated better than those of step {}", step, trainer.steps_done());
    comm::agree_on(comm, [&] { (void)trainer.load_checkpoint(best); });
    return true;
}

/// The last that is done to the weights: those that validated best are taken, and their widths fitted. A run that has done this is
/// finished. @collective
void finish(Trainer& trainer, const TrainingConfig& config, const fs::path& best, const comm::Communicator& comm,
            Validations& validations) {
    const bool others = take_best(trainer, config, best, comm, validations.best_step);
    const WidthReport widths = trainer.fit_widths();
    if (widths.sources > 0) {
        spdlog::info("widths fitted to {:.0f} sources: location and flux {:.4f} -> {:.4f} nats a source", widths.sources, widths.before,
                     widths.after);
    }
    if (config.validation_images > 0 && (others || widths.sources > 0)) validations.model = to_json(trainer.validate(), "validation_");
    trainer.check_ranks();
    validations.finished = true;
}

}  // namespace

RunSummary run(const TrainingConfig& asked, const RunOptions& options, const comm::Communicator& comm) {
    TrainingConfig config = asked;
    const bool root = comm.rank() == 0;
    const CheckpointFolder checkpoints{options.output};
    const MetricsFile metrics{options.output / "metrics.jsonl"};
    const fs::path model = options.output / "model.safetensors";
    const double tiles_per_step = static_cast<double>(config.images_per_step * config.tiles_per_side * config.tiles_per_side);

    // What cannot be done is refused before anything is removed or replaced.
    const c10::Device device = encoder::choose_device(config.device, comm);
    const bool bfloat16 = encoder::choose_precision(config.precision, comm, device) == encoder::Precision::bfloat16;
    spdlog::info("networks on {} in {}; gradients are added up over {} rank(s) by {}", device.is_cuda() ? "GPUs" : "cores",
                 bfloat16 ? "bfloat16" : "float32", comm.size(), sums_by_nccl(config.gradient_sums, device, comm) ? "NCCL" : "MPI");
    std::optional<encoder::Galaxies> named = named_galaxies(config, options, comm);
    if (named) config.galaxies.vae = named->config;
    const bool named_model = named.has_value();
    std::optional<FolderLock> lock;  // rank 0's
    std::string resumed;             // the checkpoint to go on from; empty: there is none
    if (!options.dry_run) {
        comm::agree_on(comm, [&] {
            if (!root) return;
            create_output_folder(options.output);
            lock.emplace(options.output, k_lock_patience);
            if (named) check_not_replaced(options.config_folder / config.galaxies.model, model);
            if (!options.fresh) {
                const fs::path chosen = choose_checkpoint(checkpoints.all(), config);
                if (!chosen.empty()) resumed = checkpoints.make_newest(chosen).string();
                return;
            }
            const fs::path galaxies = options.output / k_galaxies_file;
            if (named) check_not_replaced(options.config_folder / config.galaxies.model, galaxies);
            // A run that starts over and is killed early must not go on from what was there.
            checkpoints.remove_all();
            for (const fs::path& old : {model, galaxies}) fs::remove(old);
        });
    }
    std::optional<encoder::Galaxies> galaxies = galaxy_stage(config, options, std::move(named), comm);
    if (!galaxies && config.simulator.prior.galaxies == simulator::GalaxyModel::learnt) return {0, config.steps};  // asked to stop
    Trainer trainer{config, comm, std::move(galaxies)};
    if (options.dry_run) {
        const auto start = Clock::now();
        const StepReport report = trainer.step();
        spdlog::info("dry run: one step of {:.0f} tiles in {:.2f} s, loss {:.4f}; {} steps in all, nothing written", tiles_per_step,
                     seconds_since(start), report.loss, config.steps);
        return {};
    }
    Validations validations;
    comm.broadcast(resumed);
    comm::agree_on(comm, [&] {
        if (!resumed.empty()) validations = Validations::from_text(trainer.load_checkpoint(resumed));
        if (!root) return;
        if (resumed.empty()) metrics.remove();
        if (!resumed.empty() && !validations.finished) metrics.forget_after(trainer.steps_done());
        TrainingConfig written = config;  // to be found from there, too
        if (named_model) written.galaxies.model = fs::absolute(options.config_folder / config.galaxies.model).lexically_normal().string();
        write_file(options.output / "config.toml", to_toml(written));
    });
    if (!resumed.empty()) spdlog::info("resuming at step {} from {}", trainer.steps_done(), resumed);

    const auto start = Clock::now();
    const std::int64_t first_step = trainer.steps_done();
    std::int64_t step = first_step, last_saved = first_step, skipped = trainer.steps_skipped();
    MetricsWindow window;
    for (bool stop = false; !stop && !validations.finished;) {
        window.add(trainer.step());
        step = trainer.steps_done();
        const auto stepped = Clock::now();
        bool last = step == config.steps;
        const bool validate = config.validation_images > 0 && (step % config.validation_every == 0 || last);
        const bool better = validate && validations.add(trainer.validate());
        if (config.patience > 0 && validations.since_best >= config.patience) last = true;
        stop = !last && comm.all_reduce_max(std::int64_t{stop_requested() ? 1 : 0}) > 0;
        const bool save = step % config.checkpoint_every == 0 || last || stop;
        if (save || better || step % config.check_ranks_every == 0) trainer.check_ranks();
        if (better)
            comm::agree_on(comm, [&] {
                if (root) trainer.save_checkpoint(checkpoints.best(), validations.to_text());
            });
        skipped = trainer.steps_skipped();
        if (last) finish(trainer, config, checkpoints.best(), comm, validations);
        window.leave_out(Clock::now() - stepped);
        comm::agree_on(comm, [&] {
            if (!root) return;
            if (validate || last || stop || window.due()) {
                nlohmann::json line = window.close(tiles_per_step);
                say_progress(config, line, seconds_since(start), step - first_step);
                if (validate) {
                    line.update(validations.last);
                    spdlog::info("validation: {}", validations.last.dump());
                }
                if (!validations.model.empty()) {
                    for (const auto& [name, loss] : validations.model.items()) line["model_" + name] = loss;
                    spdlog::info("validation of the model: {}", validations.model.dump());
                }
                metrics.append(line);
            }
            if (save) {
                trainer.save_model(model, validations.card());  // usable while the training goes on
                checkpoints.replace(last_saved, config.keep_checkpoints,
                                    [&](const fs::path& path) { trainer.save_checkpoint(path, validations.to_text()); });
                last_saved = step;
            }
        });
    }
    spdlog::info("trained {} steps in {:.0f} s, {} left out in all: {}", step - first_step, seconds_since(start), skipped, model.string());
    return {step, validations.finished ? 0 : config.steps - step};
}

}  // namespace bliss::training
