#include "bliss/training/trainer.hpp"

#include "batch.hpp"
#include "bliss/comm/agree.hpp"
#include "bliss/core/error.hpp"
#include "bliss/core/hash.hpp"
#include "bliss/encoder/precision.hpp"
#include "bliss/simulator/reserved_steps.hpp"
#include "bliss/training/losses.hpp"
#include "flat_parameters.hpp"
#include "schedule.hpp"
#include "width_stage.hpp"

#include <ATen/autocast_mode.h>
#include <fmt/format.h>
#include <torch/torch.h>

#include <charconv>
#include <cmath>

namespace bliss::training {
namespace {

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
    double count = 0, location = 0, flux = 0, type = 0, shape = 0, sources = 0, galaxies = 0, tiles = 0;

    StepReport report(const comm::Communicator& comm) const {
        std::vector<double> all{count, location, flux, type, shape, sources, galaxies, tiles};
        comm.all_reduce_sum(std::span<double>{all});
        const double n = std::max(1.0, all[5]);
        StepReport out;
        out.loss = (all[0] + all[1] + all[2]) / all[7];
        out.loss_count = all[0] / all[7];
        out.loss_location = all[1] / n;
        out.loss_flux = all[2] / n;
        out.loss_type = all[3] / n;
        out.loss_shape = all[4] / std::max(1.0, all[6]);
        return out;
    }
};

/// What a file's metadata say under this name; empty where they say nothing.
std::string text_of(const encoder::TensorFile& file, const char* key) {
    const auto found = file.metadata.find(key);
    return found == file.metadata.end() ? std::string{} : found->second;
}

/// A checkpoint of this configuration. @throws DataError
encoder::TensorFile read_checkpoint(const std::filesystem::path& path, const TrainingConfig& config) {
    encoder::TensorFile file = encoder::read_tensor_file(path);
    if (text_of(file, "format") != "bliss-checkpoint") {
        throw DataError(fmt::format("{}: not a bliss checkpoint; use --fresh to start over", path.string()));
    }
    const std::string mine = to_toml(config, false), its = text_of(file, "configuration");
    if (its != mine) {
        throw DataError(
            fmt::format("{}: the checkpoint is of another configuration (SHA256 {:.12}, this run's {:.12}); use --fresh to "
                        "start over or another --output",
                        path.string(), sha256_of_text(its), sha256_of_text(mine)));
    }
    return file;
}

/// One of the model's networks with its optimiser.
struct Network {
    std::string name;
    FlatParameters parameters;
};

}  // namespace

struct Trainer::Impl {
    Impl(const TrainingConfig& settings, const comm::Communicator& communicator, std::optional<encoder::Galaxies> galaxies)
        : config{settings}, comm{communicator.duplicate()}, model{make_model(settings, std::move(galaxies))} {
        networks.push_back({"detection", FlatParameters{*model.detection}});
        networks.push_back({"classification", FlatParameters{*model.classification}});
        if (model.galaxy) networks.push_back({"galaxy", FlatParameters{*model.galaxy}});
        for (Network& network : networks) comm_broadcast(network.parameters.values());
        bfloat16 = encoder::choose_precision(config.precision, comm) == encoder::Precision::bfloat16;
        images_of_rank = config.images_per_step / comm.size();
        model.prior = config.simulator.prior;
        if (model.galaxies) galaxy_decoder = model.galaxies->decoder->exported();
    }

    [[nodiscard]] const simulator::GalaxyDecoder* decoder() const { return galaxy_decoder ? &*galaxy_decoder : nullptr; }

    static encoder::Model make_model(const TrainingConfig& settings, std::optional<encoder::Galaxies> galaxies) {
        torch::manual_seed(static_cast<std::uint64_t>(settings.seed));
        return encoder::Model{settings.encoder, std::move(galaxies)};
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
            const at::Tensor tiles = model.detection->trunk(batch.features, batch.conditions).flatten(1, 2);
            raw = model.detection->head(tiles, batch.context, batch.conditions);
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
        const double global_sources = global_tiles * labelled_per_tile(config);
        const SourceBatch picked = pick_sources(batch, q, GivenAs::mixed, static_cast<std::size_t>(config.sources_per_image));
        const auto add = [&](double& sum, const at::Tensor& loss_of_network) {
            if (backward) (loss_of_network / global_sources).backward();
            sum += loss_of_network.item<double>();
        };
        add(sums.type, type_loss(type_logits(picked), picked.is_star, picked.weight));
        if (!model.galaxy) return;
        sums.galaxies += (picked.weight * (1 - picked.is_star)).sum().item<double>();
        add(sums.shape, shape_loss(shapes(picked), picked.shape_latents, picked.is_star, picked.weight));
    }

    /// Logits of n picked sources to be stars. @return (n)
    at::Tensor type_logits(const SourceBatch& picked) {
        const MixedPrecision mixed{bfloat16};
        return model.classification->forward(picked.windows).slice(0, 0, picked.is_star.size(0));
    }

    /// Posteriors of the shapes of n picked sources, were they galaxies.
    encoder::ShapePosterior shapes(const SourceBatch& picked) {
        const MixedPrecision mixed{bfloat16};
        return model.galaxy->forward(picked.windows).first(picked.is_star.size(0));
    }

    /// Of the galaxy decoder's weights; empty without one.
    [[nodiscard]] std::string galaxies_sha256() const {
        if (!model.galaxies) return {};
        std::string bytes;
        for (const auto& item : model.galaxies->decoder->named_parameters()) {
            const at::Tensor weights = item.value().detach().contiguous();
            bytes.append(static_cast<const char*>(weights.data_ptr()), static_cast<std::size_t>(weights.numel()) * sizeof(float));
        }
        return sha256_of_text(bytes);
    }

    void swap_averages() {
        for (Network& network : networks) network.parameters.swap_average();
    }

    TrainingConfig config;
    comm::Communicator comm;
    encoder::Model model;
    std::optional<simulator::GalaxyDecoder> galaxy_decoder;
    std::vector<Network> networks;
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
    for (Network& network : self.networks) network.parameters.zero_gradients();
    LossSums sums;
    self.run(batch, tiles, true, sums);
    for (Network& network : self.networks) network.parameters.sum_gradients(self.comm);
    StepReport report = sums.report(self.comm);
    report.learning_rate = learning_rate_at(config, self.steps_done);
    for (Network& network : self.networks) {
        const double norm = network.parameters.step(report.learning_rate, config.gradient_norm_limit, config.weight_average_decay);
        comm::agree_on(self.comm, [&] {
            if (std::isfinite(norm)) return;
            throw Error(fmt::format("training: the gradients of step {} (seed {}) are not finite; the last checkpoint is good, lower "
                                    "learning_rate",
                                    self.steps_done, config.seed));
        });
        if (network.name == "detection") report.gradient_norm = norm;
    }
    report.step = ++self.steps_done;
    return report;
}

StepReport Trainer::validate() {
    Impl& self = *impl_;
    const torch::NoGradGuard no_grad;
    self.swap_averages();
    LossSums sums;
    const std::int64_t ranks = self.comm.size();
    const std::int64_t begin = self.config.validation_images * self.comm.rank() / ranks;
    const std::int64_t end = self.config.validation_images * (self.comm.rank() + 1) / ranks;
    for (std::int64_t first = begin; first < end; first += self.images_of_rank) {
        const simulator::SampleRange range{static_cast<std::uint64_t>(self.config.seed), simulator::k_validation_step,
                                           static_cast<std::uint32_t>(first)};
        self.run(make_batch(self.config, self.decoder(), range, std::min(self.images_of_rank, end - first)), 1, false, sums);
    }
    self.swap_averages();
    StepReport report = sums.report(self.comm);
    report.step = self.steps_done;
    return report;
}

WidthReport Trainer::fit_widths() {
    Impl& self = *impl_;
    const TrainingConfig& config = self.config;
    if (config.encoder.width_terms == 0 || config.width_images == 0) return {};
    self.swap_averages();
    WidthStage stage{self.model.detection};
    const std::int64_t ranks = self.comm.size();
    const std::int64_t begin = config.width_images * self.comm.rank() / ranks, end = config.width_images * (self.comm.rank() + 1) / ranks;
    for (std::int64_t first = begin; first < end; first += self.images_of_rank) {
        const simulator::SampleRange range{static_cast<std::uint64_t>(config.seed), simulator::k_width_step,
                                           static_cast<std::uint32_t>(first)};
        stage.add(make_batch(config, self.decoder(), range, std::min(self.images_of_rank, end - first)));
    }
    const WidthReport report = stage.fit(self.comm);
    self.swap_averages();
    return report;
}

void Trainer::synchronize() {
    if (impl_->comm.size() == 1) return;
    for (Network& network : impl_->networks) {
        for (auto& [name, block] : network.parameters.state()) impl_->comm_broadcast(block);
    }
}

void Trainer::save_checkpoint(const std::filesystem::path& path, const std::string& metrics_json) {
    encoder::TensorFile file;
    for (Network& network : impl_->networks) {
        for (auto& [name, tensor] : network.parameters.state()) file.tensors.emplace(network.name + "." + name, tensor);
    }
    file.metadata = {{"format", "bliss-checkpoint"},
                     {"step", std::to_string(impl_->steps_done)},
                     {"metrics", metrics_json},
                     {"configuration", to_toml(impl_->config, false)},
                     {"galaxies", impl_->galaxies_sha256()}};
    encoder::write_tensor_file(path, file);
}

void check_checkpoint(const std::filesystem::path& path, const TrainingConfig& config) { (void)read_checkpoint(path, config); }

std::string Trainer::load_checkpoint(const std::filesystem::path& path) {
    const encoder::TensorFile file = read_checkpoint(path, impl_->config);
    const auto text = [&](const char* key) { return text_of(file, key); };
    if (text("galaxies") != impl_->galaxies_sha256()) {
        throw DataError(fmt::format("{}: the checkpoint was trained with other galaxies than this run's; use --fresh to start over",
                                    path.string()));
    }
    const auto fill = [&](const std::string& network, FlatParameters& parameters) {
        for (auto& [name, tensor] : parameters.state()) {
            const auto found = file.tensors.find(network + name);
            if (found == file.tensors.end() || found->second.sizes() != tensor.sizes()) {
                throw DataError(fmt::format("{}: the checkpoint's '{}{}' does not fit this model; use --fresh to start over", path.string(),
                                            network, name));
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
    for (Network& network : impl_->networks) fill(network.name + ".", network.parameters);
    return text("metrics");
}

void Trainer::save_model(const std::filesystem::path& path, const std::string& metrics_json) {
    Impl& self = *impl_;
    self.model.card = make_card(self.config, self.steps_done, metrics_json);
    self.swap_averages();
    encoder::save_model(path, self.model);
    self.swap_averages();
}

}  // namespace bliss::training
