#include "width_stage.hpp"

#include "bliss/comm/agree.hpp"
#include "bliss/tile/one_thread.hpp"
#include "bliss/training/losses.hpp"

#include <torch/torch.h>

#include <cmath>
#include <limits>
#include <utility>

namespace bliss::training {
namespace {

constexpr int k_most_iterations = 60;
/// Of a search's terms and loss: it ends where they change by less.
constexpr double k_least_change = 1e-6;
/// Sources that are asked about at once, each as the only tile of an image of its own.
constexpr std::int64_t k_sources_per_part = 1 << 14;

template <class T>
void append(std::vector<T>& to, const std::vector<T>& from) {
    to.insert(to.end(), from.begin(), from.end());
}

struct Part {
    at::Tensor raw;                       ///< (n, 1, K) outputs of the head
    encoder::ImageConditions conditions;  ///< ln_noise alone
    Labels labels;
};

std::vector<Part> parts_of(const WidthStage::Answers& all) {
    const std::int64_t sources = std::ssize(all.sources), outputs = std::ssize(all.raw) / std::max<std::int64_t>(1, sources);
    const at::Tensor raw = torch::tensor(all.raw).view({sources, 1, outputs}), ln_noise = torch::tensor(all.ln_noise).view({sources, 1});
    std::vector<Part> parts;
    for (std::int64_t begin = 0; begin < sources; begin += k_sources_per_part) {
        const std::int64_t end = std::min(sources, begin + k_sources_per_part);
        Part& part = parts.emplace_back();
        part.raw = raw.slice(0, begin, end);
        part.conditions.ln_noise = ln_noise.slice(0, begin, end);
        part.labels.count = torch::ones({end - begin}, torch::kLong);
        part.labels.sources.assign(all.sources.begin() + begin, all.sources.begin() + end);
        for (std::int64_t k = 0; k < end - begin; ++k) part.labels.sources[static_cast<std::size_t>(k)].tile = k;
    }
    return parts;
}

}  // namespace

WidthStage::WidthStage(encoder::DetectionEncoder network, const encoder::EncoderConfig& config)
    : network_{std::move(network)}, on_host_{config} {
    const torch::NoGradGuard no_grad;
    on_host_->width_terms().copy_(network_->width_terms());
}

WidthStage::Answers WidthStage::ask(const Batch& batch) const {
    const torch::NoGradGuard no_grad;
    Answers out;
    std::vector<std::int64_t> tile;
    for (const LabelledSource& source : batch.labels.sources) {
        if (batch.labels.count.data_ptr<std::int64_t>()[source.tile] != 1) continue;
        tile.push_back(source.tile);
        out.ln_noise.push_back(batch.ln_noise[static_cast<std::size_t>(source.image)]);
        out.sources.push_back(source);
    }
    if (tile.empty()) return out;
    encoder::DetectionEncoder network = network_;
    const at::Tensor tiles = network->trunk(batch.features, batch.conditions).flatten(1, 2);
    const at::Tensor raw =
        network->head(tiles, batch.context, batch.conditions).flatten(0, 1).cpu().index_select(0, torch::tensor(tile)).contiguous();
    out.raw.assign(raw.data_ptr<float>(), raw.data_ptr<float>() + raw.numel());
    return out;
}

WidthReport WidthStage::fit(const std::vector<Answers>& answers, const comm::Communicator& comm) {
    Answers mine, all;
    for (const Answers& of_piece : answers) {
        append(mine.raw, of_piece.raw);
        append(mine.ln_noise, of_piece.ln_noise);
        append(mine.sources, of_piece.sources);
    }
    all.raw = comm.gather_v(mine.raw, 0);
    all.ln_noise = comm.gather_v(mine.ln_noise, 0);
    all.sources = comm.gather_v(mine.sources, 0);
    WidthReport report;
    comm::agree_on(comm, [&] {
        if (comm.rank() != 0 || all.sources.empty()) return;
        tile::for_each_on_one_thread(1, [&](std::int64_t) { report = search(all); });
    });
    comm.broadcast(report);
    const at::Tensor fitted = on_host_->width_terms();
    std::vector<float> numbers(fitted.data_ptr<float>(), fitted.data_ptr<float>() + fitted.numel());
    comm.broadcast(numbers);
    const torch::NoGradGuard no_grad;
    const at::Tensor terms = network_->width_terms();
    terms.copy_(torch::tensor(numbers).view(terms.sizes()));
    return report;
}

WidthReport WidthStage::search(const Answers& all) {
    const torch::AutoGradMode with_gradients{true};
    const std::vector<Part> parts = parts_of(all);
    WidthReport report;
    report.sources = static_cast<double>(all.sources.size());
    report.before = report.after = std::numeric_limits<double>::infinity();
    at::Tensor terms = on_host_->width_terms();
    terms.mutable_grad() = torch::zeros_like(terms);
    at::Tensor best = terms.detach().clone();
    const auto closure = [&] {  // the mean of -ln q and its gradient at the present terms
        terms.mutable_grad().zero_();
        double loss = 0;
        for (const Part& part : parts) {
            const DetectionLoss of_part = detection_loss(on_host_->posterior(part.raw, part.conditions), part.labels);
            const at::Tensor mean = (of_part.location + of_part.flux) / report.sources;
            mean.backward();
            loss += mean.item<double>();
        }
        if (!std::isfinite(report.before)) report.before = loss;
        if (loss < report.after) {
            best.copy_(terms.detach());
            report.after = loss;
        }
        return torch::tensor(loss);
    };
    torch::optim::LBFGS optimizer{
        {terms}, torch::optim::LBFGSOptions(1).max_iter(k_most_iterations).tolerance_change(k_least_change).line_search_fn("strong_wolfe")};
    optimizer.step(closure);
    // In single precision a search may stray where nothing is left to gain.
    const torch::NoGradGuard no_grad;
    terms.copy_(best);
    return report;
}

}  // namespace bliss::training
