#include "bliss/training/trainer.hpp"

#include "bliss/comm/agree.hpp"
#include "bliss/core/checksum.hpp"
#include "bliss/core/error.hpp"
#include "bliss/encoder/precision.hpp"
#include "bliss/simulator/reserved_steps.hpp"
#include "schedule.hpp"
#include "trainer_impl.hpp"
#include "width_stage.hpp"

#include <fmt/ranges.h>
#include <omp.h>
#include <spdlog/spdlog.h>
#include <torch/torch.h>

#include <algorithm>
#include <chrono>

namespace bliss::training {
namespace {

using Clock = std::chrono::steady_clock;

/// What an image's sources cost, types and shapes, at the mean density; against everything else.
constexpr double k_work_of_sources = 0.5;

/// Threads that ask a GPU for the networks' work: this rank's, and LibTorch's for backward passes.
constexpr int k_threads_of_networks = 2;

double seconds_since(Clock::time_point start) { return std::chrono::duration<double>(Clock::now() - start).count(); }

/// Adds to `seconds` what `work` takes.
template <class Work>
void timed(double& seconds, const Work& work) {
    const auto start = Clock::now();
    work();
    seconds += seconds_since(start);
}

bool any_not_finite(const std::vector<LossSums>& pieces) {
    return std::ranges::any_of(pieces, [](const LossSums& of_piece) { return of_piece.not_finite != 0; });
}

/// Means of the losses of pieces, without those that are not finite.
StepReport report_of(const std::vector<LossSums>& pieces) {
    LossSums all;
    for (const LossSums& piece : pieces) {
        if (piece.not_finite == 0) all.add(piece);
    }
    const double tiles = std::max(1.0, all.tiles), sources = std::max(1.0, all.sources);
    StepReport out;
    out.loss = (all.count + all.location + all.flux) / tiles;
    out.loss_count = all.count / tiles;
    out.loss_location = all.location / sources;
    out.loss_flux = all.flux / sources;
    out.loss_type = all.type / sources;
    out.loss_shape = all.shape / std::max(1.0, all.galaxies);
    out.loss_all = out.loss + (all.type + all.shape) / tiles;
    return out;
}

}  // namespace

void StepTimes::add(const StepTimes& other) {
    simulate_s += other.simulate_s;
    detect_s += other.detect_s;
    sources_s += other.sources_s;
    sum_s += other.sum_s;
    wait_s += other.wait_s;
    optimise_s += other.optimise_s;
}

Trainer::Impl::Impl(const TrainingConfig& settings, const comm::Communicator& communicator, std::optional<encoder::Galaxies> galaxies)
    : config{settings},
      comm{communicator.duplicate()},
      device{encoder::choose_device(settings.device, comm)},
      engine{make_sum_engine(settings.gradient_sums, device, comm)},
      model{[&] {
          torch::manual_seed(static_cast<std::uint64_t>(settings.seed));
          return encoder::Model{settings.encoder, std::move(galaxies)};
      }()} {
    parameters.emplace_back(*model.detection, device);
    parameters.emplace_back(*model.sources, device);
    for (FlatParameters& of_network : parameters) {
        for (const auto& [name, block] : of_network.state()) broadcast(block);
        gradients.emplace_back(of_network.size(), k_gradient_bits, device);
    }
    bfloat16 = encoder::choose_precision(config.precision, comm, device) == encoder::Precision::bfloat16;
    model.prior = config.simulator.prior;
    if (model.galaxies) galaxy_decoder = model.galaxies->decoder->exported();
    // On cores the networks leave none to spare.
    if (device.is_cuda()) batch_worker = std::make_unique<Worker>(std::max(1, omp_get_max_threads() - k_threads_of_networks));
}

std::vector<ImageRange> Trainer::Impl::pieces_of(std::int64_t images) const {
    const std::int64_t at_once = config.images_at_once, pieces = (images + at_once - 1) / at_once;
    const std::int64_t begin = pieces * comm.rank() / comm.size(), end = pieces * (comm.rank() + 1) / comm.size();
    std::vector<ImageRange> out;
    for (std::int64_t k = begin; k < end; ++k) out.push_back({k * at_once, std::min(at_once, images - k * at_once)});
    return out;
}

std::vector<ImageRange> Trainer::Impl::pieces_of_step(std::uint32_t step) const {
    struct Share {
        ImageRange images;
        double work;
        std::int64_t rank;
    };
    std::vector<Share> pieces;
    for (std::int64_t first = 0; comm.rank() == 0 && first < config.images_per_step; first += config.images_at_once) {
        Share piece{{first, std::min(config.images_at_once, config.images_per_step - first)}, 0, 0};
        for (std::int64_t k = 0; k < piece.images.count; ++k) {
            const double rate = simulator::rate_of(config.simulator, samples(step, first + k));
            piece.work += 1 + k_work_of_sources * rate / simulator::mean_rate(config.simulator.conditions);
        }
        pieces.push_back(piece);
    }
    std::ranges::stable_sort(pieces, std::ranges::greater{}, &Share::work);
    std::vector<double> work(static_cast<std::size_t>(comm.size()));
    for (Share& piece : pieces) {
        piece.rank = std::ranges::min_element(work) - work.begin();
        work[static_cast<std::size_t>(piece.rank)] += piece.work;
    }
    comm.broadcast(pieces);  // as rank 0 has it: processors round differently
    std::vector<ImageRange> mine;
    for (const Share& piece : pieces) {
        if (piece.rank == comm.rank()) mine.push_back(piece.images);
    }
    return mine;
}

std::vector<LossSums> Trainer::Impl::gather(const std::vector<ImageRange>& images, const std::vector<LossSums>& mine) const {
    struct OfImages {
        std::int64_t first;
        LossSums losses;
    };
    std::vector<OfImages> all;
    for (std::size_t k = 0; k < mine.size(); ++k) all.push_back({images[k].first, mine[k]});
    all = comm.gather_v(all);
    std::ranges::sort(all, {}, &OfImages::first);
    std::vector<LossSums> out;
    for (const OfImages& piece : all) out.push_back(piece.losses);
    return out;
}

template <class Work>
void Trainer::Impl::for_each_piece(std::size_t pieces, const Work& work) {
    const auto make = [&] {
        const std::int64_t latents = galaxy_decoder ? static_cast<std::int64_t>(galaxy_decoder->latents()) : 0;
        return std::make_unique<Learner>(config, latents, parameters, bfloat16);
    };
    // One thread asks a GPU for work: cuDNN's plans are kept by thread.
    if (device.is_cuda()) {
        learners.for_each_here(pieces, make, work);
    } else {
        learners.for_each(pieces, make, work);
    }
}

Batch Trainer::Impl::make_batch(std::uint32_t step, const ImageRange& images) const {
    return training::make_batch(config, decoder(), samples(step, images.first), images.count, device);
}

std::unique_ptr<Trainer::Impl::StepBatches> Trainer::Impl::begin_batches(std::int64_t step) {
    auto out = std::make_unique<StepBatches>();
    out->step = step;
    out->images = pieces_of_step(static_cast<std::uint32_t>(step));
    if (!batch_worker) return out;
    out->made.resize(out->images.size());
    out->done = batch_worker->begin([this, step, batches = out.get()] {
        for (std::size_t k = 0; k < batches->made.size(); ++k)
            batches->made[k] = make_batch(static_cast<std::uint32_t>(step), batches->images[k]);
    });
    return out;
}

std::unique_ptr<Trainer::Impl::StepBatches> Trainer::Impl::take_batches() {
    if (coming && coming->step != steps_done) coming.reset();  // a checkpoint was loaded meanwhile
    std::unique_ptr<StepBatches> out = coming ? std::move(coming) : begin_batches(steps_done);
    if (!batch_worker) return out;
    comm::agree_on(comm, [&] { out->done.get(); });
    if (steps_done + 1 < config.steps) coming = begin_batches(steps_done + 1);
    return out;
}

std::unique_ptr<PendingGradients> Trainer::Impl::begin_sum(NetworkKind kind) {
    std::vector<const GradientSums*> of_threads;
    learners.for_all([&](const Learner& learner) { of_threads.push_back(&learner.gradients(kind)); });
    gradients[kind].sum_of(of_threads);
    return engine->begin(gradients[kind]);
}

void Trainer::Impl::swap_averages() {
    for (FlatParameters& of_network : parameters) of_network.swap_average();
}

void Trainer::Impl::broadcast(const at::Tensor& block) const {
    const at::Tensor plain = block.cpu();
    std::vector<float> values(plain.data_ptr<float>(), plain.data_ptr<float>() + plain.numel());
    comm.broadcast(values);
    block.copy_(torch::tensor(values));
}

Trainer::Trainer(const TrainingConfig& config, const comm::Communicator& comm, std::optional<encoder::Galaxies> galaxies) {
    check_training(config, comm.size());
    impl_ = std::make_unique<Impl>(config, comm, std::move(galaxies));
}

Trainer::~Trainer() = default;

std::int64_t Trainer::steps_done() const { return impl_->steps_done; }

std::int64_t Trainer::steps_skipped() const { return impl_->steps_skipped; }

double learning_rate_at(const TrainingConfig& config, std::int64_t step) {
    return cosine_schedule(config.learning_rate, config.warmup_steps, config.steps, config.final_learning_rate_share, step);
}

StepReport Trainer::step() {
    Impl& self = *impl_;
    const TrainingConfig& config = self.config;
    const auto tiles = static_cast<double>(config.images_per_step * config.tiles_per_side * config.tiles_per_side);
    const Learner::Whole whole{tiles, tiles * labelled_per_tile(config)};
    StepTimes before;
    std::unique_ptr<Impl::StepBatches> batches;
    timed(before.simulate_s, [&] { batches = self.take_batches(); });
    const std::vector<ImageRange>& images = batches->images;
    std::vector<Piece> pieces(images.size());
    std::vector<StepTimes> times(images.size());
    self.learners.for_all([](Learner& learner) { learner.clear(); });
    // A network's gradients travel while the next one computes.
    std::vector<std::unique_ptr<PendingGradients>> sums;
    self.for_each_piece(images.size(), [&](Learner& learner, std::size_t k) {
        timed(times[k].simulate_s, [&] {
            pieces[k].batch = batches->made.empty() ? self.make_batch(static_cast<std::uint32_t>(self.steps_done), images[k])
                                                    : std::move(batches->made[k]);
        });
        timed(times[k].detect_s, [&] { learner.detect(pieces[k], &whole); });
    });
    sums.push_back(self.begin_sum(detection_network));
    self.for_each_piece(images.size(), [&](Learner& learner, std::size_t k) {
        timed(times[k].sources_s, [&] { learner.describe_sources(pieces[k], &whole); });
    });
    sums.push_back(self.begin_sum(source_network));
    std::vector<LossSums> losses;
    for (const Piece& piece : pieces) losses.push_back(piece.sums);
    losses = self.gather(images, losses);
    times.push_back(before);
    StepReport report = report_of(losses);
    for (const StepTimes& of_piece : times) report.times.add(of_piece);
    report.learning_rate = learning_rate_at(config, self.steps_done);
    for (const auto& sum : sums) {
        report.times.wait_s += sum->wait();
        report.times.sum_s += sum->took_s();
    }
    report.skipped = any_not_finite(losses);
    if (report.skipped) {
        comm::agree_on(self.comm, [&] { self.skip(losses); });
    } else {
        timed(report.times.optimise_s, [&] {
            for (std::size_t kind = 0; kind < self.parameters.size(); ++kind) {
                const double norm = self.parameters[kind].step(self.gradients[kind].read(), report.learning_rate,
                                                               config.gradient_norm_limit, config.weight_average_decay, self.comm);
                if (kind == detection_network) report.gradient_norm = norm;
            }
        });
    }
    report.step = ++self.steps_done;
    return report;
}

void Trainer::Impl::skip(const std::vector<LossSums>& losses) {
    ++steps_skipped;
    const auto bad = std::ranges::find_if(losses, [](const LossSums& of_piece) { return of_piece.not_finite != 0; }) - losses.begin();
    const std::int64_t first = bad * config.images_at_once, last = std::min(config.images_per_step, first + config.images_at_once) - 1;
    const std::string what = fmt::format(
        "training: losses or gradients of step {0} are not finite (seed {1}, images {2} to {3}; "
        "bliss-mpi simulate config.toml --replay {0} --images {2}-{3} in the output folder writes them)",
        steps_done, config.seed, first, last);
    if (steps_skipped <= config.most_skipped_steps) {
        spdlog::warn("{}; the step is left out, the {}. of at most {}", what, steps_skipped, config.most_skipped_steps);
        return;
    }
    throw Error(
        fmt::format("{}, and {} steps were left out before it; the last checkpoint is good: lower learning_rate, or allow more with "
                    "most_skipped_steps",
                    what, config.most_skipped_steps));
}

StepReport Trainer::validate() {
    Impl& self = *impl_;
    self.swap_averages();
    const std::vector<ImageRange> images = self.pieces_of(self.config.validation_images);
    std::vector<LossSums> losses(images.size());
    self.for_each_piece(images.size(), [&](Learner& learner, std::size_t k) {
        Piece piece;
        piece.batch = self.make_batch(simulator::k_validation_step, images[k]);
        learner.detect(piece, nullptr);
        learner.describe_sources(piece, nullptr);
        losses[k] = piece.sums;
    });
    self.swap_averages();
    losses = self.gather(images, losses);
    StepReport report = report_of(losses);
    report.skipped = any_not_finite(losses);
    report.step = self.steps_done;
    return report;
}

WidthReport Trainer::fit_widths() {
    Impl& self = *impl_;
    if (self.config.encoder.width_terms == 0 || self.config.width_images == 0) return {};
    self.swap_averages();
    WidthStage stage{self.model.detection, self.config.encoder};
    const std::vector<ImageRange> images = self.pieces_of(self.config.width_images);
    std::vector<WidthStage::Answers> answers(images.size());
    self.for_each_piece(images.size(),
                        [&](Learner&, std::size_t k) { answers[k] = stage.ask(self.make_batch(simulator::k_width_step, images[k])); });
    const WidthReport report = stage.fit(answers, self.comm);
    self.swap_averages();
    return report;
}

void Trainer::check_ranks() const {
    if (impl_->comm.size() == 1) return;
    Checksum sum;
    for (const FlatParameters& of_network : impl_->parameters) {
        for (const auto& [name, block] : of_network.state()) {
            const at::Tensor plain = block.cpu();
            sum.add({static_cast<const std::byte*>(plain.data_ptr()), plain.nbytes()});
        }
    }
    const std::vector<std::uint64_t> of_ranks = impl_->comm.all_gather(sum.value());
    std::vector<std::size_t> others;
    for (std::size_t rank = 0; rank < of_ranks.size(); ++rank) {
        if (of_ranks[rank] != of_ranks.front()) others.push_back(rank);
    }
    if (others.empty()) return;
    comm::agree_on(impl_->comm, [&] {
        throw Error(
            fmt::format("training: after step {} the weights of rank(s) {} are not those of rank 0, as a fault of memory or of a "
                        "processor makes them; the last checkpoint is good: run it again, and look at those nodes",
                        impl_->steps_done, fmt::join(others, ", ")));
    });
}

}  // namespace bliss::training
