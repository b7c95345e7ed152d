#include "bliss/training/trainer.hpp"

#include "batch.hpp"
#include "bliss/comm/agree.hpp"
#include "bliss/core/error.hpp"
#include "bliss/core/hash.hpp"
#include "bliss/encoder/precision.hpp"
#include "bliss/training/losses.hpp"
#include "flat_parameters.hpp"
#include "schedule.hpp"

#include <ATen/autocast_mode.h>
#include <fmt/format.h>
#include <spdlog/spdlog.h>
#include <torch/torch.h>

#include <charconv>
#include <cmath>

namespace bliss::training {
namespace {

/// Step number of the validation images: no training step has it.
constexpr std::uint32_t k_validation_step = 0xFFFFFFFF;

/// Convolutions in bfloat16 while it lives, where asked for; weights and everything else stay float32.
class MixedPrecision {
public:
    explicit MixedPrecision(bool on) : on_{on} {
        if (!on_) return;
        at::autocast::set_autocast_dtype(at::kCPU, at::kBFloat16);
        at::autocast::set_autocast_enabled(at::kCPU, true);
    }
    ~MixedPrecision() {
        if (!on_) return;
        at::autocast::set_autocast_enabled(at::kCPU, false);
        at::autocast::clear_cache();
    }
    MixedPrecision(const MixedPrecision&) = delete;
    MixedPrecision& operator=(const MixedPrecision&) = delete;

private:
    bool on_;
};

/// Sums of losses, in the order of StepReport, with what they are divided by.
struct LossSums {
    double count = 0, location = 0, flux = 0, type = 0, sources = 0, tiles = 0;

    StepReport report(const comm::Communicator& comm) const {
        std::vector<double> all{count, location, flux, type, sources, tiles};
        comm.all_reduce_sum(std::span<double>{all});
        const double n = std::max(1.0, all[4]);
        StepReport out;
        out.loss = (all[0] + all[1] + all[2]) / all[5];
        out.loss_count = all[0] / all[5];
        out.loss_location = all[1] / n;
        out.loss_flux = all[2] / n;
        out.loss_type = all[3] / n;
        return out;
    }
};

}  // namespace

struct Trainer::Impl {
    Impl(const TrainingConfig& settings, const comm::Communicator& communicator, std::optional<encoder::Galaxies> galaxies)
        : config{settings}, comm{communicator.duplicate()}, model{make_model(settings)}, detection{*model.detection},
          classification{*model.classification} {
        comm_broadcast(detection.values());
        comm_broadcast(classification.values());
        bfloat16 = encoder::choose_precision(config.precision, comm) == encoder::Precision::bfloat16;
        images_of_rank = config.images_per_step / comm.size();
        model.galaxies = std::move(galaxies);
        if (model.galaxies) galaxy_decoder = model.galaxies->decoder->exported();
    }

    [[nodiscard]] const simulator::GalaxyDecoder* decoder() const { return galaxy_decoder ? &*galaxy_decoder : nullptr; }

    static encoder::Model make_model(const TrainingConfig& settings) {
        torch::manual_seed(static_cast<std::uint64_t>(settings.seed));
        return encoder::Model{settings.encoder};
    }

    void comm_broadcast(at::Tensor& block) {
        std::vector<float> values(block.data_ptr<float>(), block.data_ptr<float>() + block.numel());
        comm.broadcast(values);
        std::copy(values.begin(), values.end(), block.data_ptr<float>());
    }

    /// Losses of a batch; adds their sums, and where asked for the gradients of their mean over the global batch.
    void run(const Batch& batch, double global_tiles, bool backward, LossSums& sums) {
        at::Tensor raw;
        {
            const MixedPrecision mixed{bfloat16};
            raw = model.detection->forward(batch.features, batch.conditions);
        }
        const encoder::TilePosterior q = model.detection->posterior(raw, batch.conditions);
        const DetectionLoss loss = detection_loss(q, batch.labels);
        if (backward) ((loss.count + loss.location + loss.flux) / global_tiles).backward();
        sums.count += loss.count.item<double>();
        sums.location += loss.location.item<double>();
        sums.flux += loss.flux.item<double>();
        sums.tiles += static_cast<double>(batch.labels.count.numel());
        sums.sources += static_cast<double>(batch.labels.sources.size());
        if (batch.labels.sources.empty()) return;

        const encoder::SourceWindows windows = windows_at_inferred_locations(batch, q);
        at::Tensor logits;
        {
            const MixedPrecision mixed{bfloat16};
            logits = model.classification->forward(windows);
        }
        const at::Tensor type_loss = torch::binary_cross_entropy_with_logits(logits, batch.is_star, {}, {}, at::Reduction::Sum);
        if (backward) (type_loss / (global_tiles * mean_rate(config.simulator))).backward();
        sums.type += type_loss.item<double>();
    }

    void reduce(FlatParameters& parameters) {
        at::Tensor& g = parameters.gradients();
        comm.all_reduce_sum(std::span<float>{g.data_ptr<float>(), static_cast<std::size_t>(g.numel())});
    }

    TrainingConfig config;
    comm::Communicator comm;
    encoder::Model model;
    std::optional<simulator::GalaxyDecoder> galaxy_decoder;
    FlatParameters detection;
    FlatParameters classification;
    bool bfloat16 = false;
    std::int64_t images_of_rank = 0;
    std::int64_t steps_done = 0;
};

Trainer::Trainer(const TrainingConfig& config, const comm::Communicator& comm, std::optional<encoder::Galaxies> galaxies) {
    check_training(config, comm.size());
    impl_ = std::make_unique<Impl>(config, comm, std::move(galaxies));
}

Trainer::~Trainer() = default;

std::int64_t Trainer::steps_done() const { return impl_->steps_done; }

double learning_rate_at(const TrainingConfig& config, std::int64_t step) {
    return cosine_schedule(config.learning_rate, config.warmup_steps, config.steps, config.final_learning_rate_share, step);
}

StepReport Trainer::step() {
    Impl& self = *impl_;
    const TrainingConfig& config = self.config;
    const simulator::SampleRange range{static_cast<std::uint64_t>(config.seed), static_cast<std::uint32_t>(self.steps_done),
                                       static_cast<std::uint32_t>(self.comm.rank() * self.images_of_rank)};
    const Batch batch = make_batch(config, self.decoder(), range, self.images_of_rank);
    const double tiles = static_cast<double>(config.images_per_step * config.tiles_per_side * config.tiles_per_side);
    self.detection.zero_gradients();
    self.classification.zero_gradients();
    LossSums sums;
    self.run(batch, tiles, true, sums);
    self.reduce(self.detection);
    self.reduce(self.classification);
    StepReport report = sums.report(self.comm);
    report.learning_rate = learning_rate_at(config, self.steps_done);
    const auto take_step = [&](FlatParameters& parameters) {
        const double norm = parameters.step(report.learning_rate, config.gradient_norm_limit, config.weight_average_decay);
        comm::agree_on(self.comm, [&] {
            if (std::isfinite(norm)) return;
            throw Error(fmt::format("training: the gradients of step {} (seed {}) are not finite; the last checkpoint is good, lower "
                                    "learning_rate",
                                    self.steps_done, config.seed));
        });
        return norm;
    };
    report.gradient_norm = take_step(self.detection);
    take_step(self.classification);
    report.step = ++self.steps_done;
    return report;
}

StepReport Trainer::validate() {
    Impl& self = *impl_;
    const torch::NoGradGuard no_grad;
    self.detection.swap_average();
    self.classification.swap_average();
    LossSums sums;
    const std::int64_t ranks = self.comm.size();
    const std::int64_t begin = self.config.validation_images * self.comm.rank() / ranks;
    const std::int64_t end = self.config.validation_images * (self.comm.rank() + 1) / ranks;
    for (std::int64_t first = begin; first < end; first += self.images_of_rank) {
        const simulator::SampleRange range{static_cast<std::uint64_t>(self.config.seed), k_validation_step,
                                           static_cast<std::uint32_t>(first)};
        self.run(make_batch(self.config, self.decoder(), range, std::min(self.images_of_rank, end - first)), 1, false, sums);
    }
    self.detection.swap_average();
    self.classification.swap_average();
    StepReport report = sums.report(self.comm);
    report.step = self.steps_done;
    return report;
}

void Trainer::synchronize() {
    if (impl_->comm.size() == 1) return;
    for (FlatParameters* const parameters : {&impl_->detection, &impl_->classification}) {
        for (auto& [name, block] : parameters->state()) impl_->comm_broadcast(block);
    }
}

void Trainer::save_checkpoint(const std::filesystem::path& path, const std::string& metrics_json) {
    encoder::TensorFile file;
    for (auto& [name, tensor] : impl_->detection.state()) file.tensors.emplace("detection." + name, tensor);
    for (auto& [name, tensor] : impl_->classification.state()) file.tensors.emplace("classification." + name, tensor);
    file.metadata = {{"format", "bliss-checkpoint"},
                     {"step", std::to_string(impl_->steps_done)},
                     {"metrics", metrics_json},
                     {"configuration", to_toml(impl_->config, false)}};
    encoder::write_tensor_file(path, file);
}

std::string Trainer::load_checkpoint(const std::filesystem::path& path) {
    const encoder::TensorFile file = encoder::read_tensor_file(path);
    const auto text = [&](const char* key) {
        const auto found = file.metadata.find(key);
        return found == file.metadata.end() ? std::string{} : found->second;
    };
    if (text("format") != "bliss-checkpoint") throw DataError(fmt::format("{}: not a bliss checkpoint", path.string()));
    const std::string mine = to_toml(impl_->config, false);
    if (text("configuration") != mine) {
        throw DataError(fmt::format("{}: the checkpoint is of another configuration (SHA256 {:.12}, this run's {:.12}); use --fresh to "
                                    "start over or another --output",
                                    path.string(), sha256_of_text(text("configuration")), sha256_of_text(mine)));
    }
    const auto fill = [&](const std::string& network, FlatParameters& parameters) {
        for (auto& [name, tensor] : parameters.state()) {
            const auto found = file.tensors.find(network + name);
            if (found == file.tensors.end() || found->second.sizes() != tensor.sizes()) {
                throw DataError(fmt::format("{}: the checkpoint's '{}{}' does not fit this model", path.string(), network, name));
            }
            const torch::NoGradGuard no_grad;
            tensor.copy_(found->second);
        }
        parameters.set_step(impl_->steps_done);
    };
    const std::string step = text("step");
    if (std::from_chars(step.data(), step.data() + step.size(), impl_->steps_done).ec != std::errc{}) {
        throw DataError(fmt::format("{}: the checkpoint's step '{}' is no number; use --fresh to start over", path.string(), step));
    }
    fill("detection.", impl_->detection);
    fill("classification.", impl_->classification);
    return text("metrics");
}

void Trainer::save_model(const std::filesystem::path& path, const std::string& metrics_json) {
    Impl& self = *impl_;
    self.model.card = make_card(self.config, self.steps_done, metrics_json);
    self.detection.swap_average();
    self.classification.swap_average();
    encoder::save_model(path, self.model);
    self.detection.swap_average();
    self.classification.swap_average();
}

}  // namespace bliss::training
