#include "bliss/training/run.hpp"

#include "bliss/comm/agree.hpp"
#include "bliss/core/atomic_file.hpp"
#include "bliss/core/error.hpp"
#include "bliss/core/folder_lock.hpp"
#include "bliss/core/interrupt.hpp"
#include "bliss/encoder/precision.hpp"
#include "bliss/training/trainer.hpp"
#include "batch.hpp"
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

/// What a run leaves in its output folder.
struct OutputFolder {
    explicit OutputFolder(const fs::path& path)
        : checkpoints{path},
          metrics{path / "metrics.jsonl"},
          model{path / "model.safetensors"},
          galaxies{path / k_galaxies_file},
          configuration{path / "config.toml"} {}

    CheckpointFolder checkpoints;
    MetricsFile metrics;
    fs::path model, galaxies, configuration;
};

double tiles_per_step(const TrainingConfig& config) {
    return static_cast<double>(config.images_per_step * config.tiles_per_side * config.tiles_per_side);
}

/// Says where and how networks are computed. @throws ConfigError on all ranks where that is not to be had. @collective
void say_computed(const TrainingConfig& config, const comm::Communicator& comm) {
    const c10::Device device = encoder::choose_device(config.device, comm);
    const bool bfloat16 = encoder::choose_precision(config.precision, comm, device) == encoder::Precision::bfloat16;
    spdlog::info("networks on {} in {}; images are made on {}; gradients are added up over {} rank(s) by {}",
                 device.is_cuda() ? "GPUs" : "cores", bfloat16 ? "bfloat16" : "float32", makes_images_on(device, config) ? "GPUs" : "cores",
                 comm.size(), sums_by_nccl(config.gradient_sums, device, comm) ? "NCCL" : "MPI");
}

/// Makes the folder this run's alone. @param named the decoder's file that the configuration names, or empty @param lock rank 0's
/// @return the checkpoint to go on from, empty where there is none @throws ConfigError, DataError, IoError on all ranks. @collective
std::string prepare(const OutputFolder& folder, const TrainingConfig& config, const RunOptions& options, const fs::path& named,
                    std::optional<FolderLock>& lock, const comm::Communicator& comm) {
    std::string resumed;
    comm::agree_on(comm, [&] {
        if (comm.rank() != 0) return;
        create_output_folder(options.output);
        lock.emplace(options.output, k_lock_patience);
        if (!named.empty()) check_not_replaced(named, folder.model);
        if (!options.fresh) {
            const fs::path chosen = choose_checkpoint(folder.checkpoints.all(), config);
            if (!chosen.empty()) resumed = folder.checkpoints.make_newest(chosen).string();
            return;
        }
        if (!named.empty()) check_not_replaced(named, folder.galaxies);
        // A run that starts over and is killed early must not go on from what was there.
        folder.checkpoints.remove_all();
        for (const fs::path& old : {folder.model, folder.galaxies}) fs::remove(old);
    });
    comm.broadcast(resumed);
    return resumed;
}

RunSummary dry_run(Trainer& trainer, const TrainingConfig& config) {
    const auto start = Clock::now();
    const StepReport report = trainer.step();
    spdlog::info("dry run: one step of {:.0f} tiles in {:.2f} s, loss {:.4f}; {} steps in all, nothing written", tiles_per_step(config),
                 seconds_since(start), report.loss, config.steps);
    return {};
}

/// The steps of a training, from where it is to its end.
class Steps {
public:
    Steps(Trainer& trainer, const TrainingConfig& config, const OutputFolder& folder, Validations validations,
          const comm::Communicator& comm)
        : trainer_{trainer}, config_{config}, folder_{folder}, comm_{comm}, validations_{std::move(validations)} {}

    RunSummary take() {
        while (!stopped_ && !validations_.finished) take_one();
        spdlog::info("trained {} steps in {:.0f} s, {} left out in all: {}", step_ - first_step_, seconds_since(start_), skipped_,
                     folder_.model.string());
        return {step_, validations_.finished ? 0 : config_.steps - step_};
    }

private:
    void take_one() {
        window_.add(trainer_.step());
        step_ = trainer_.steps_done();
        skipped_ = trainer_.steps_skipped();
        const auto stepped = Clock::now();
        bool last = step_ == config_.steps;
        const bool validate = config_.validation_images > 0 && (step_ % config_.validation_every == 0 || last);
        const bool better = validate && validations_.add(trainer_.validate());
        if (config_.patience > 0 && validations_.since_best >= config_.patience) last = true;
        stopped_ = !last && comm_.all_reduce_max(std::int64_t{stop_requested() ? 1 : 0}) > 0;
        const bool save = step_ % config_.checkpoint_every == 0 || last || stopped_;
        if (save || better || step_ % config_.check_ranks_every == 0) trainer_.check_ranks();
        if (better) on_root([&] { trainer_.save_checkpoint(folder_.checkpoints.best(), validations_.to_text()); });
        if (last) finish();
        window_.leave_out(Clock::now() - stepped);
        on_root([&] {
            if (validate || last || stopped_ || window_.due()) write_line(validate);
            if (save) save_all();
        });
    }

    /// Does `work` on rank 0. @throws what it throws, on all ranks. @collective
    template <class Work>
    void on_root(const Work& work) const {
        comm::agree_on(comm_, [&] {
            if (comm_.rank() == 0) work();
        });
    }

    void write_line(bool validated) {
        nlohmann::json line = window_.close(tiles_per_step(config_));
        say_progress(config_, line, seconds_since(start_), step_ - first_step_);
        if (validated) {
            line.update(validations_.last);
            spdlog::info("validation: {}", validations_.last.dump());
        }
        if (!validations_.model.empty()) {
            for (const auto& [name, loss] : validations_.model.items()) line["model_" + name] = loss;
            spdlog::info("validation of the model: {}", validations_.model.dump());
        }
        folder_.metrics.append(line);
    }

    void save_all() {
        trainer_.save_model(folder_.model, validations_.card());  // usable while the training goes on
        folder_.checkpoints.replace(last_saved_, config_.keep_checkpoints,
                                    [&](const fs::path& path) { trainer_.save_checkpoint(path, validations_.to_text()); });
        last_saved_ = step_;
    }

    /// Takes the weights that validated best. @return whether they are others than the last @collective
    bool take_best() {
        const std::int64_t best = validations_.best_step;
        if (best < 0 || best == step_) return false;
        const fs::path path = folder_.checkpoints.best();
        std::string problem;
        if (comm_.rank() == 0) problem = problem_with_checkpoint(path, config_, best);
        comm_.broadcast(problem);
        if (!problem.empty()) {
            spdlog::warn("{}; the weights of step {} are taken, though those of step {} validated better", problem, step_, best);
            return false;
        }
        spdlog::warn("the weights of step {} are taken, which validated better than those of step {}", best, step_);
        comm::agree_on(comm_, [&] { (void)trainer_.load_checkpoint(path); });
        return true;
    }

    /// The last that is done to the weights: those that validated best are taken, and their widths fitted. A run that has done this is
    /// finished. @collective
    void finish() {
        const bool others = take_best();
        const WidthReport widths = trainer_.fit_widths();
        if (widths.sources > 0) {
            spdlog::info("widths fitted to {:.0f} sources: location and flux {:.4f} -> {:.4f} nats a source", widths.sources, widths.before,
                         widths.after);
        }
        if (config_.validation_images > 0 && (others || widths.sources > 0))
            validations_.model = to_json(trainer_.validate(), "validation_");
        trainer_.check_ranks();
        validations_.finished = true;
    }

    Trainer& trainer_;
    const TrainingConfig& config_;
    const OutputFolder& folder_;
    const comm::Communicator& comm_;
    Validations validations_;
    MetricsWindow window_;
    Clock::time_point start_ = Clock::now();
    std::int64_t first_step_ = trainer_.steps_done(), step_ = first_step_, last_saved_ = first_step_;
    std::int64_t skipped_ = trainer_.steps_skipped();
    bool stopped_ = false;
};

}  // namespace

RunSummary run(const TrainingConfig& asked, const RunOptions& options, const comm::Communicator& comm) {
    TrainingConfig config = asked;
    const OutputFolder folder{options.output};
    // What cannot be done is refused before anything is removed or replaced.
    say_computed(config, comm);
    std::optional<encoder::Galaxies> galaxies = named_galaxies(config, options, comm);
    fs::path named;  // their file
    if (galaxies) {
        named = fs::absolute(options.config_folder / config.galaxies.model).lexically_normal();
        config.galaxies.vae = galaxies->config;
    }
    std::optional<FolderLock> lock;
    std::string resumed;
    if (!options.dry_run) resumed = prepare(folder, config, options, named, lock, comm);
    galaxies = galaxy_stage(config, options, std::move(galaxies), comm);
    if (!galaxies && config.simulator.prior.galaxies == simulator::GalaxyModel::learnt) return {0, config.steps};  // asked to stop
    Trainer trainer{config, comm, std::move(galaxies)};
    if (options.dry_run) return dry_run(trainer, config);
    Validations validations;
    comm::agree_on(comm, [&] {
        if (!resumed.empty()) validations = Validations::from_text(trainer.load_checkpoint(resumed));
        if (comm.rank() != 0) return;
        if (resumed.empty()) folder.metrics.remove();
        if (!resumed.empty() && !validations.finished) folder.metrics.forget_after(trainer.steps_done());
        TrainingConfig written = config;
        if (!named.empty()) written.galaxies.model = named.string();  // to be found from there, too
        write_file(folder.configuration, to_toml(written));
    });
    if (!resumed.empty()) spdlog::info("resuming at step {} from {}", trainer.steps_done(), resumed);
    return Steps{trainer, config, folder, std::move(validations), comm}.take();
}

}  // namespace bliss::training
